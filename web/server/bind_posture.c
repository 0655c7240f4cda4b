#include "web/server/bind_posture.h"

#include "acme/ca/revoke.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"

#define ARENA_MAX ((size_t)256 * 1024)
#define PUSH_TTL (INT64_C(7) * 86400)

static struct ca_change change(const struct posture_cause *c)
{
    return (struct ca_change){.by = CA_BY_POSTURE,
                              .reason = 9 /* privilegeWithdrawn */,
                              .if_match = CA_IF_ANY,
                              .now = c->now,
                              .actor = "posture",
                              .txn = c->txn};
}

enum td_err bind_posture_hold(void *ctx, struct tx *tx, const struct posture_cause *c, bool hold,
                              struct errinfo *ei)
{
    (void)ctx;
    const struct ca_change why = change(c);
    int64_t n;
    return ca_hold_device(tx, c->serial, hold, &why, &n, ei);
}

enum td_err bind_posture_revoke(void *ctx, struct tx *tx, const struct posture_cause *c,
                                struct errinfo *ei)
{
    (void)ctx;
    struct ca_change why = change(c);
    int64_t n;
    why.act = CA_ACT_REVOKE;
    TD_TRY(ca_change_device(tx, c->serial, "access", &why, &n, ei));
    metrics_add(METRIC_CERTS_REVOKED, n);
    return TD_OK;
}

/* --- back again ------------------------------------------------------------------------------ */

struct wanted {
    const char *serial;
    struct arena *a;
    struct enroll_access list[ENROLL_ACCESS_MAX];
    size_t n;
};

static enum td_err wanted_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct wanted *w = ctx;
    return enroll_assigned(tx, w->serial, w->a, w->list, &w->n, ei);
}

/* Nothing to take: the sweep is alone at it. */
static enum td_err claim(struct tx *tx, void *ctx, const char *uuid, struct errinfo *ei)
{
    (void)tx, (void)ctx, (void)uuid, (void)ei;
    return TD_OK;
}

enum td_err bind_posture_restore(void *ctx, const char *serial, struct errinfo *ei)
{
    const struct bind_posture *b = ctx;
    const struct posture_conf *conf = posture_conf_of(b->posture);
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct wanted w = {.serial = serial, .a = &a};
    TD_TRY(store_read(conf->store, wanted_job, &w, ei));
    for (size_t i = 0; i < w.n; i++) {
        struct errinfo why = {0};
        const struct enroll_renewal r = {.serial = serial,
                                         .profile = w.list[i].profile,
                                         .access = true,
                                         .expires = clock_now(conf->clock) + PUSH_TTL,
                                         .claim = claim};
        enum td_err e = enroll_renew(b->enroll, b->core, &r, &why);
        if (e == TD_OK)
            continue;
        log_ev(LOG_WARN, "posture.not_restored", KV("serial", serial), KV("profile", r.profile),
               KV("error", err_msg(&why, e)));
        if (e != TD_FORBIDDEN && e != TD_NOTFOUND && e != TD_STATE) {
            *ei = why;
            return e;
        }
    }
    log_ev(LOG_INFO, "posture.restored", KV("serial", serial), KV_I64("profiles", w.n));
    return TD_OK;
}

/* --- what is proved -------------------------------------------------------------------------- */

static void result_free(struct attest_result *r)
{
    attest_result_free(r);
}

enum td_err bind_posture_attest(void *ctx, const char *serial, const struct span *chain, size_t n,
                                struct span nonce, struct arena *a, const char **ret_facts,
                                struct errinfo *ei)
{
    const struct bind_posture *b = ctx;
    const struct attest_expect want = {.freshness = nonce,
                                       .serial = serial,
                                       .now = clock_now(posture_conf_of(b->posture)->clock),
                                       .formats_off = b->formats_off};
    __attribute__((cleanup(result_free))) struct attest_result r = {0};
    buf_auto text;
    buf_init(&text, 4096);
    TD_TRY(attest_verify_chain(b->roots, chain, n, &want, a, &r, ei));
    TD_TRY(attest_facts_json(&r.facts, &text));
    *ret_facts = arena_dup(a, buf_view(&text));
    return *ret_facts ? TD_OK : err_set(ei, TD_NOMEM, "no memory for an attestation");
}

/* --- what is heard --------------------------------------------------------------------------- */

static enum td_err proof_came(struct tx *tx, const struct core_news *n, struct arena *a,
                              struct errinfo *ei)
{
    struct span chain[LIMIT_X5C_COUNT];
    size_t count;
    if (strcmp(n->request_type, "DeviceInformation") != 0)
        return TD_OK;
    TD_TRY(posture_facts_chain(n->report, a, chain, TD_NITEMS(chain), &count));
    return count ? posture_attested(tx, n->serial, n->command, ei) : TD_OK;
}

enum td_err bind_posture_told(void *ctx, struct tx *tx, const struct core_news *n,
                              struct errinfo *ei)
{
    const struct bind_posture *b = ctx;
    const struct posture_cause c = {n->serial, n->now, n->txn};
    struct posture_obs obs[POSTURE_FACTS_MAX];
    struct posture_said said = {
        .serial = n->serial, .source = POSTURE_REPORTED, .obs = obs, .now = n->now, .txn = n->txn};
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    switch (n->what) {
    case CORE_TOLD_AUTHENTICATE:
        TD_TRY(
            posture_facts_checkin(n->os_version, n->build, n->product, n->now, &a, obs, &said.n));
        break;
    case CORE_TOLD_REPORT:
        TD_TRY(proof_came(tx, n, &a, ei));
        TD_TRY(posture_facts_report(n->request_type, n->report, n->now, &a, obs, &said.n));
        break;
    case CORE_TOLD_ENROLLED:
    case CORE_TOLD_REMOVED:
        return posture_look(b->posture, tx, &c, ei);
    }
    return said.n ? posture_hear(b->posture, tx, &said, ei) : TD_OK;
}

enum td_err bind_posture_attested(void *ctx, struct tx *tx, const struct acme_news *n,
                                  struct errinfo *ei)
{
    const struct bind_posture *b = ctx;
    struct posture_obs obs[POSTURE_FACTS_MAX];
    struct posture_said said = {
        .serial = n->serial, .source = POSTURE_ATTESTED, .obs = obs, .now = n->now, .txn = n->txn};
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    if (n->facts) {
        struct json *root;
        TD_TRY(json_parse(span_str(n->facts), &a, &root, ei));
        TD_TRY(posture_facts_evidence(root, n->now, &a, obs, &said.n));
    }
    return posture_hear(b->posture, tx, &said, ei);
}

enum td_err bind_posture_changed(void *ctx, const void *payload, struct errinfo *ei)
{
    (void)ctx;
    const struct inv_event *ev = payload;
    return posture_soon(ev->tx, ev->serial, ei);
}
