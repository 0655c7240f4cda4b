#include "acme/server/eab.h"

#include "acme/server/call.h"
#include "acme/server/problem.h"
#include "acme/server/stmts.h"
#include "acme/server/url.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/mac.h"

struct key_row {
    const struct acme_call *c;
    const char *id;
    const char *profile;
    struct span sealed;
};

#define PURPOSE "eab"

const struct sealed_column acme_eab_column = {PURPOSE, ACME_EAB_SECRET, ACME_SQL(EAB_PAGE),
                                              ACME_SQL(EAB_SEAL)};

enum td_err acme_eab_seal(const struct seal *seal, const char *id,
                          const uint8_t secret[static ACME_EAB_SECRET], struct rng *rng,
                          struct arena *a, struct span *ret, struct errinfo *ei)
{
    const struct seal_place at = {PURPOSE, span_str(id)};
    return seal_wrap(seal, &at, span_of(secret, ACME_EAB_SECRET), rng, a, ret, ei);
}

static enum td_err refuse(struct errinfo *ei, const char *reason, const char *what)
{
    return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", reason, "%s", what);
}

static enum td_err malformed(struct errinfo *ei, const char *reason, const char *what)
{
    return acme_refuse(ei, TD_INVAL, "malformed", reason, "%s", what);
}

enum { PROFILE, SECRET, ACCOUNT, EXPIRES, REVOKED };

/* Whether the key may bind an account now. */
static enum td_err judge(const struct cur *row, int64_t now, struct errinfo *ei)
{
    if (!cur_is_null(row, REVOKED) || cur_int(row, EXPIRES) <= now)
        return refuse(ei, "eab-ended",
                      "the key for external account binding is revoked or expired");
    if (!cur_is_null(row, ACCOUNT))
        return refuse(ei, "eab-used", "the key for external account binding has bound an account");
    return TD_OK;
}

static enum td_err key_get(struct tx *tx, const char *id, struct cur *row, struct errinfo *ei)
{
    enum td_err e = tx_row(tx, ACME_SQL(EAB_GET), SV_LIST(SV_TEXT(id)), row, ei);
    return e == TD_NOTFOUND ? refuse(ei, "eab-unknown", "no such key for external account binding")
                            : e;
}

static enum td_err read_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct key_row *k = ctx;
    struct cur row;
    TD_TRY(key_get(tx, k->id, &row, ei));
    enum td_err e = judge(&row, k->c->now, ei);
    if (e == TD_OK) {
        k->profile = cur_dup(&row, PROFILE, k->c->arena);
        k->sealed = cur_span_dup(&row, SECRET, k->c->arena);
        if (!k->profile || !k->sealed.p)
            e = err_set(ei, TD_NOMEM, "request");
    }
    cur_end(&row);
    return e;
}

/* The payload is the key that signs the request (its thumbprint, as members may be ordered and
 * decorated differently). */
static enum td_err check_payload(const struct acme_call *c, const struct jws *j, struct errinfo *ei)
{
    struct json *v;
    struct jwk k;
    enum td_err e = json_parse(j->payload, c->arena, &v, NULL);
    if (e == TD_OK)
        e = jwk_parse(v, c->arena, &k, NULL);
    if (e == TD_NOMEM || e == TD_INTERNAL)
        return err_set(ei, e, "external account binding");
    if (e != TD_OK || memcmp(k.thumbprint, c->jwk.thumbprint, sizeof k.thumbprint) != 0)
        return malformed(ei, "eab-payload",
                         "the payload of an external account binding is the account's key");
    return TD_OK;
}

static enum td_err check_mac(const struct key_row *k, const struct jws *j, struct errinfo *ei)
{
    uint8_t mac[SHA256_SIZE];
    secret_auto secret = {NULL, 0};
    const struct seal_place at = {PURPOSE, span_str(k->id)};
    TD_TRY(seal_open(k->c->acme->conf.seal, &at, k->sealed, &secret, ei));
    TD_TRY(mac_hmac_sha256(span_of(secret.p, secret.n), j->signed_bytes, mac, ei));
    if (!secret_eq(SPAN_ARR(mac), j->signature))
        return refuse(ei, "eab-mac", "the external account binding's MAC does not hold");
    return TD_OK;
}

enum td_err acme_eab_verify(const struct acme_call *c, const struct json *binding,
                            struct acme_eab *ret, struct errinfo *ei)
{
    struct jws j;
    struct key_row k = {.c = c};
    struct span wanted = c->req->params[0];
    TD_TRY(jws_parse_json(binding, JWS_BINDING, c->arena, &j, ei));
    if (strcmp(j.url, c->jws.url) != 0)
        return malformed(ei, "eab-url", "the url of an external account binding is the request's");
    TD_TRY(check_payload(c, &j, ei));
    if (!acme_id_valid(span_str(j.kid)))
        return refuse(ei, "eab-unknown", "no such key for external account binding");
    k.id = j.kid;
    TD_TRY(store_read(c->acme->conf.store, read_job, &k, ei));
    TD_TRY(check_mac(&k, &j, ei));
    if (wanted.n && k.profile[0] && !span_eq_str(wanted, k.profile))
        return refuse(ei, "eab-profile", "the key is for another certificate profile");
    ret->key_id = k.id;
    return TD_OK;
}

enum td_err acme_eab_bind(struct tx *tx, const struct acme_eab *b, const char *account_id,
                          int64_t now, struct errinfo *ei)
{
    int64_t n = 0;
    struct cur row;
    TD_TRY(tx_exec(
        tx, ACME_SQL(EAB_BIND),
        SV_LIST(SV_TEXT(b->key_id), SV_TEXT(account_id), SV_INT(now), SV_INT(ACME_KEEP_EVER)), &n,
        ei));
    if (n == 1)
        return TD_OK;
    TD_TRY(key_get(tx, b->key_id, &row, ei));
    enum td_err e = judge(&row, now, ei);
    cur_end(&row);
    return e == TD_OK ? err_set(ei, TD_INTERNAL, "a free key did not bind") : e;
}
