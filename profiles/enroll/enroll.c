#include "profiles/enroll/enroll.h"

#include <stdlib.h>

#include "mdm/store/audit.h"
#include "profiles/enroll/enroll_int.h"

#define DAY INT64_C(86400)
#define TTL_MAX_DAYS 366

const struct store_stmt enroll_sql[ENROLL_SQL_MAX] = {
    [ENROLL_SQL_ADD] = {"enroll.add",
                        "INSERT INTO invitations (id, token_hash, serial, created_by, created_at, "
                        "expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                        "tbttii", ""},
    [ENROLL_SQL_FIND] = {"enroll.find",
                         "SELECT id, serial, expires_at, used_at FROM invitations WHERE "
                         "token_hash = ?1",
                         "b", "ttiI"},
    [ENROLL_SQL_USE] = {"enroll.use",
                        "UPDATE invitations SET used_at = ?2 WHERE id = ?1 AND used_at IS NULL",
                        "ti", ""},
    [ENROLL_SQL_ASSIGN] = {"enroll.assign",
                           "INSERT INTO access_profiles (serial, profile, wifi_ssid, wifi_servers, "
                           "created_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT "
                           "(serial, profile) DO UPDATE SET wifi_ssid = ?3, wifi_servers = ?4, "
                           "created_by = ?5, created_at = ?6",
                           "ttttti", ""},
    [ENROLL_SQL_ASSIGNED] = {"enroll.assigned",
                             "SELECT wifi_ssid, wifi_servers FROM access_profiles WHERE serial = "
                             "?1 AND profile = ?2",
                             "tt", "tt"},
    [ENROLL_SQL_ASSIGNMENTS] = {"enroll.assignments",
                                "SELECT profile, wifi_ssid, wifi_servers, created_by, created_at "
                                "FROM access_profiles WHERE serial = ?1 ORDER BY profile",
                                "t", "tttti"},
    [ENROLL_SQL_UNASSIGN] = {"enroll.unassign",
                             "DELETE FROM access_profiles WHERE serial = ?1 AND profile = ?2", "tt",
                             ""},
    [ENROLL_SQL_UNASSIGN_ALL] = {"enroll.unassign_all",
                                 "DELETE FROM access_profiles WHERE serial = ?1", "t", ""},
    [ENROLL_SQL_CANCEL] = {"enroll.cancel",
                           "UPDATE invitations SET expires_at = ?2 WHERE serial = ?1 AND used_at "
                           "IS NULL AND expires_at > ?2",
                           "ti", ""},
    [ENROLL_SQL_PAGE] = {"enroll.page", SWEEP_PAGE("invitations", "expires_at", "id"),
                         SWEEP_PAGE_IN("t"), SWEEP_PAGE_OUT("t")},
    [ENROLL_SQL_CLEAN] = {"enroll.clean", SWEEP_DROP("invitations", "expires_at", "id"),
                          SWEEP_DROP_IN("t"), ""},
};

const struct store_stmts enroll_stmts = {enroll_sql, ENROLL_SQL_MAX};

static bool https(const char *url)
{
    struct span s = span_str(url);
    return span_starts(s, SPAN_LIT("https://")) && s.n > 8 && s.p[s.n - 1] != '/';
}

enum td_err enroll_open(const struct enroll_conf *conf, struct enroll **ret, struct errinfo *ei)
{
    if (!conf->ops.device_listed || !conf->ops.client_id_add || !conf->ops.sign || !conf->root)
        return err_set(ei, TD_INVAL, "enrolment: an operation or the root is not bound");
    if (!https(conf->public_url) || !https(conf->device_url))
        return err_set(ei, TD_INVAL, "enrolment: the URLs are https:// and end without a slash");
    if (conf->key_size != 256 && conf->key_size != 384)
        return err_set(ei, TD_INVAL, "enrolment: the key has 256 or 384 bits");
    if (conf->invitation_ttl < 1 || conf->client_id_ttl < 1)
        return err_set(ei, TD_INVAL, "enrolment: invitations and identifiers must live");
    struct enroll *e = calloc(1, sizeof *e);
    if (!e)
        return err_set(ei, TD_NOMEM, "no memory for the enrolment");
    e->conf = *conf;
    pthread_mutex_init(&e->mutex, NULL);
    *ret = e;
    return TD_OK;
}

void enroll_close(struct enroll *e)
{
    if (!e)
        return;
    pthread_mutex_destroy(&e->mutex);
    free(e);
}

struct invite {
    struct enroll *e;
    const char *id, *serial, *actor, *txn;
    uint8_t hash[SHA256_SIZE];
    int64_t now, expires;
};

static enum td_err invite_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct invite *v = ctx;
    const struct enroll_ops *ops = &v->e->conf.ops;
    enum td_err e = ops->device_listed(ops->ctx, tx, v->serial, ei);
    if (e == TD_NOTFOUND)
        return err_reason(ei, TD_NOTFOUND, "device-not-listed",
                          "the device is not in the inventory");
    TD_TRY(e);
    TD_TRY(tx_exec(tx, &enroll_sql[ENROLL_SQL_ADD],
                   SV_LIST(SV_TEXT(v->id), SV_BLOB(SPAN_ARR(v->hash)), SV_TEXT(v->serial),
                           SV_TEXT(v->actor), SV_INT(v->now), SV_INT(v->expires)),
                   NULL, ei));
    return audit_add(tx, v->now, v->txn, v->actor, "invitation.create", v->serial, v->id, ei);
}

enum td_err enroll_invite(struct enroll *e, const char *serial, int64_t ttl, const char *actor,
                          struct arena *a, struct invitation *ret, struct errinfo *ei)
{
    char token[RNG_TOKEN_SIZE], id[RNG_ID_SIZE], txn[RNG_ID_SIZE];
    if (ttl < 0 || ttl > TTL_MAX_DAYS * DAY)
        return err_set(ei, TD_INVAL, "ttl: 0 seconds to %d days", TTL_MAX_DAYS);
    rng_token(e->conf.rng, token);
    rng_id(e->conf.rng, id);
    rng_id(e->conf.rng, txn);
    struct invite v = {.e = e, .id = id, .serial = serial, .txn = txn};
    v.actor = actor ? actor : "";
    v.now = clock_now(e->conf.clock);
    v.expires = v.now + (ttl ? ttl : e->conf.invitation_ttl);
    digest_sha256(span_str(token), v.hash);
    struct invitation out = {.expires_at = v.expires};
    out.id = arena_strdup(a, id);
    out.url = arena_printf(a, "%s/enroll/%s", e->conf.public_url, token);
    if (!out.id || !out.url)
        return err_set(ei, TD_NOMEM, "no memory for an invitation");
    TD_TRY(store_write(e->conf.store, invite_job, &v, ei));
    *ret = out;
    return TD_OK;
}

enum td_err enroll_cancel(struct tx *tx, const char *serial, int64_t now, struct errinfo *ei)
{
    return tx_exec(tx, &enroll_sql[ENROLL_SQL_CANCEL], SV_LIST(SV_TEXT(serial), SV_INT(now)), NULL,
                   ei);
}

enum td_err enroll_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, &enroll_sql[ENROLL_SQL_PAGE], &enroll_sql[ENROLL_SQL_CLEAN], s, ei);
}
