#include "acme/server/acme.h"

#include <stdlib.h>

#include "acme/server/record.h"
#include "acme/server/server_int.h"
#include "mdm/base/limits.h"

/* Enough for the enrolments under way at one time; a miss costs a read. */
#define KEYS 1024

/* Apple's attestation may take minutes between two requests (reference section 4, quirk 9). */
#define NONCE_TTL_MIN 600

static bool whole(const struct acme_conf *c)
{
    return c->store && c->ca && c->roots && c->clock && c->rng && c->seal && c->ops.device_listed;
}

static enum td_err check(const struct acme_conf *c, struct errinfo *ei)
{
    size_t n = c->base_url ? strlen(c->base_url) : 0;
    if (!whole(c))
        return err_set(ei, TD_INVAL, "acme: a part of the configuration is missing");
    if (n == 0 || c->base_url[n - 1] == '/' || strpbrk(c->base_url, "%\" <>"))
        return err_set(ei, TD_INVAL, "acme: the base URL is empty or malformed");
    if (c->nonce_ttl < NONCE_TTL_MIN)
        return err_set(ei, TD_INVAL, "acme: nonces live at least %d s", NONCE_TTL_MIN);
    if (c->order_ttl <= 0 || c->keep_issued <= 0)
        return err_set(ei, TD_INVAL, "acme: orders need a lifetime and a time they are kept");
    if (c->idle_accounts <= 0)
        return err_set(ei, TD_INVAL, "acme: accounts without an order need a place");
    return TD_OK;
}

enum td_err acme_open(const struct acme_conf *conf, struct acme **ret, struct errinfo *ei)
{
    TD_TRY(check(conf, ei));
    struct acme *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(ei, TD_NOMEM, "acme");
    a->conf = *conf;
    enum td_err e =
        store_shared(conf->store)
            ? nonce_shared_new(conf->store, conf->clock, conf->rng, conf->nonce_ttl, &a->nonces, ei)
            : nonce_memory_new(conf->clock, conf->rng, conf->nonce_ttl, LIMIT_NONCES, &a->nonces,
                               ei);
    if (e == TD_OK)
        e = keycache_new(KEYS, &a->keys, ei);
    if (e == TD_OK)
        e = record_gate_new(conf->clock, &a->gate, ei);
    if (e != TD_OK) {
        acme_close(a);
        return e;
    }
    *ret = a;
    return TD_OK;
}

void acme_close(struct acme *a)
{
    if (!a)
        return;
    nonce_close(a->nonces);
    keycache_free(a->keys);
    record_gate_free(a->gate);
    free(a);
}
