#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/store/attempts.h"
#include "profiles/enroll/enroll_int.h"

#define PROFILE_MAX 65536 /* the unsigned profile has about 5 KiB */
#define MINUTE_MS 60000

struct fetch {
    struct enroll *e;
    uint8_t hash[SHA256_SIZE];
    const char *client_id, *peer;
    int64_t now;
    bool consume;
    /* result; serial is "" as long as no invitation is known */
    char serial[LIMIT_SERIAL + 1];
};

static enum td_err find(struct fetch *f, struct tx *tx, char id[static RNG_ID_SIZE],
                        int64_t *expires, bool *used, struct errinfo *ei)
{
    struct cur cur;
    enum td_err e =
        tx_row(tx, &enroll_sql[ENROLL_SQL_FIND], SV_LIST(SV_BLOB(SPAN_ARR(f->hash))), &cur, ei);
    if (e == TD_NOTFOUND)
        return err_reason(ei, TD_NOTFOUND, "invitation-unknown", "no such invitation");
    TD_TRY(e);
    struct span key = cur_span(&cur, 0), serial = cur_span(&cur, 1);
    bool fits = key.n < RNG_ID_SIZE && serial.n <= LIMIT_SERIAL;
    if (fits) {
        memcpy(id, key.p, key.n);
        id[key.n] = 0;
        memcpy(f->serial, serial.p, serial.n);
        f->serial[serial.n] = 0;
    }
    *expires = cur_int(&cur, 2);
    *used = !cur_is_null(&cur, 3);
    cur_end(&cur);
    return fits ? TD_OK : err_set(ei, TD_INTERNAL, "an invitation has a damaged row");
}

/* Judges the invitation; with `consume` also uses it up and binds the ClientIdentifier, all in the
 * one transaction. */
static enum td_err fetch_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct fetch *f = ctx;
    const struct enroll_conf *conf = &f->e->conf;
    char id[RNG_ID_SIZE];
    int64_t expires = 0, changed = 0;
    bool used = false;
    f->serial[0] = 0;
    TD_TRY(find(f, tx, id, &expires, &used, ei));
    if (used)
        return err_reason(ei, TD_GONE, "invitation-used", "the invitation was used");
    enum td_err e = conf->ops.device_listed(conf->ops.ctx, tx, f->serial, ei);
    if (e == TD_NOTFOUND)
        return err_reason(ei, TD_FORBIDDEN, "device-not-listed",
                          "the device is not in the inventory");
    TD_TRY(e);
    if (expires <= f->now)
        return err_reason(ei, TD_GONE, "invitation-expired", "the invitation expired");
    if (!f->consume)
        return TD_OK;
    TD_TRY(tx_exec(tx, &enroll_sql[ENROLL_SQL_USE], SV_LIST(SV_TEXT(id), SV_INT(f->now)), &changed,
                   ei));
    if (changed != 1)
        return err_reason(ei, TD_GONE, "invitation-used", "the invitation was used");
    TD_TRY(conf->ops.client_id_add(conf->ops.ctx, tx, f->client_id, f->serial, conf->cert_profile,
                                   f->now, f->now + conf->client_id_ttl, ei));
    struct attempt t = {.at = f->now,
                        .serial = f->serial,
                        .source = "enroll",
                        .outcome = "accepted",
                        .detail = "enrolment profile given out",
                        .peer = f->peer};
    return attempt_add(tx, &t, ei);
}

static enum td_err refused_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return attempt_add(tx, ctx, ei);
}

/* True once a minute for each invitation and reason. */
static bool first_this_minute(struct enroll *e, const uint8_t hash[static SHA256_SIZE],
                              const char *reason)
{
    uint64_t key;
    memcpy(&key, hash, sizeof key);
    for (const char *p = reason; *p; p++)
        key = (key ^ (uint8_t)*p) * 0x100000001b3u; /* FNV-1a */
    int64_t now = clock_mono(e->conf.clock);
    size_t i = key % ENROLL_REFUSALS;
    pthread_mutex_lock(&e->mutex);
    bool first = e->refusals[i].key != key || now - e->refusals[i].at_ms >= MINUTE_MS;
    if (first) {
        e->refusals[i].key = key;
        e->refusals[i].at_ms = now;
    }
    pthread_mutex_unlock(&e->mutex);
    return first;
}

/* Keeps why a known device got no profile. */
static void refused(const struct fetch *f, enum td_err e, const struct errinfo *ei)
{
    if (!f->serial[0] || (e != TD_GONE && e != TD_FORBIDDEN))
        return;
    if (!first_this_minute(f->e, f->hash, ei->reason ? ei->reason : ""))
        return;
    struct attempt t = {.at = f->now,
                        .serial = f->serial,
                        .source = "enroll",
                        .outcome = "refused",
                        .reason = ei->reason,
                        .detail = err_msg(ei, e),
                        .peer = f->peer};
    struct errinfo why = {0};
    enum td_err failed = store_write(f->e->conf.store, refused_job, &t, &why);
    if (failed != TD_OK)
        log_ev(LOG_WARN, "enroll.attempt_lost", KV("serial", f->serial),
               KV("error", err_msg(&why, failed)));
}

/* 43 characters of the URL alphabet. */
static bool token_shaped(struct span t)
{
    if (t.n != RNG_TOKEN_SIZE - 1)
        return false;
    for (size_t i = 0; i < t.n; i++) {
        uint8_t c = t.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

static enum td_err signed_profile(struct fetch *f, struct arena *a, struct span *ret,
                                  struct errinfo *ei)
{
    const struct enroll_ops *ops = &f->e->conf.ops;
    buf_auto xml;
    buf_init(&xml, PROFILE_MAX);
    TD_TRY(enroll_compose(f->e, f->serial, f->client_id, a, &xml, ei));
    return ops->sign(ops->ctx, buf_view(&xml), a, ret, ei);
}

/* Made and signed first, used up last: a failure of ours leaves the invitation as it was, and of
 * two who come at once one gets it. */
static enum td_err run(struct fetch *f, const struct req *req, struct resp *resp,
                       struct errinfo *ei)
{
    struct span profile;
    TD_TRY(store_read(f->e->conf.store, fetch_job, f, ei));
    TD_TRY(signed_profile(f, req->arena, &profile, ei));
    f->consume = true;
    TD_TRY(store_write(f->e->conf.store, fetch_job, f, ei));
    TD_TRY(resp_header(resp, "Cache-Control", "no-store"));
    TD_TRY(
        resp_header(resp, "Content-Disposition", "attachment; filename=\"enroll.mobileconfig\""));
    return resp_body(resp, 200, "application/x-apple-aspen-config", profile);
}

static enum td_err enroll_get(const struct req *req, struct resp *resp, struct errinfo *ei)
{
    char client_id[RNG_TOKEN_SIZE];
    struct errinfo own = {0};
    if (!ei)
        ei = &own;
    if (!token_shaped(req->params[0]))
        return err_reason(ei, TD_NOTFOUND, "invitation-unknown", "no such invitation");
    struct fetch f = {.e = req->ctx, .client_id = client_id, .peer = req->peer_addr};
    f.now = clock_now(f.e->conf.clock);
    digest_sha256(req->params[0], f.hash);
    rng_token(f.e->conf.rng, client_id);
    enum td_err e = run(&f, req, resp, ei);
    explicit_bzero(client_id, sizeof client_id);
    if (e != TD_OK)
        refused(&f, e, ei);
    else
        log_ev(LOG_INFO, "enroll.profile", KV("serial", f.serial));
    return e;
}

const struct route enroll_routes[] = {
    {.methods = REQ_GET,
     .listeners = REQ_ON_PUBLIC,
     .path = "/enroll/{token}",
     .access = ROUTE_OPEN,
     .fn = enroll_get,
     .doc = "The enrolment profile of an invitation, once"},
};
const size_t enroll_nroutes = TD_NITEMS(enroll_routes);
