#include "acme/ca/revoke.h"

#include <stdio.h>

#include "acme/ca/ca_int.h"
#include "mdm/base/hex.h"
#include "mdm/store/audit.h"

#define HOLD_REASON 6 /* certificateHold */
#define DETAIL_MAX 200
#define ARENA_MAX ((size_t)16 * 1024 * 1024) /* the rows of one device */

enum {
    STMT_ONE,
    STMT_OF,
    STMT_BY_HASH,
    STMT_REVOKE,
    STMT_HOLD,
    STMT_RELEASE,
    STMT_HOLDERS,
    STMT_COUNT,
    STMT_MARK,
    STMT_SET_MARK,
    STMT_UNMARK,
    STMT_MARKED,
    STMT_MAX
};

#define COLUMNS "serial, device_serial, purpose, issuer, shard, status, reason, rev, holders"
#define COLUMN_TYPES "bttBiiIii"

static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_ONE] = {"ca.change_one", "SELECT " COLUMNS " FROM certificates WHERE serial = ?1", "b",
                  COLUMN_TYPES},
    [STMT_OF] = {"ca.change_of",
                 "SELECT " COLUMNS " FROM certificates WHERE device_serial = ?1 AND "
                 "status >= ?2 AND status <= ?3 ORDER BY serial",
                 "tii", COLUMN_TYPES},
    [STMT_BY_HASH] = {"ca.change_by_hash", "SELECT " COLUMNS " FROM certificates WHERE sha256 = ?1",
                      "b", COLUMN_TYPES},
    /* revoked_at stands when it was on hold */
    [STMT_REVOKE] = {"ca.revoke",
                     "UPDATE certificates SET status = 1, revoked_at = COALESCE(revoked_at, ?3), "
                     "reason = ?4, holders = 0, rev = rev + 1 WHERE serial = ?1 AND rev = ?2",
                     "biii", ""},
    [STMT_HOLD] = {"ca.hold",
                   "UPDATE certificates SET status = 2, revoked_at = ?3, reason = ?4, "
                   "holders = ?5, rev = rev + 1 WHERE serial = ?1 AND rev = ?2",
                   "biiii", ""},
    [STMT_RELEASE] = {"ca.release",
                      "UPDATE certificates SET status = 0, revoked_at = NULL, reason = NULL, "
                      "holders = 0, rev = rev + 1 WHERE serial = ?1 AND rev = ?2",
                      "bi", ""},
    /* on hold before and behind it */
    [STMT_HOLDERS] = {"ca.holders",
                      "UPDATE certificates SET holders = ?3, rev = rev + 1 WHERE serial = ?1 AND "
                      "rev = ?2",
                      "bii", ""},
    [STMT_COUNT] = {"ca.crl_change",
                    "INSERT INTO crl_changes AS c (issuer, shard, changes) VALUES (?1, ?2, 1) "
                    "ON CONFLICT (issuer, shard) DO UPDATE SET changes = c.changes + 1",
                    "bi", ""},
    [STMT_MARK] = {"ca.hold_mark",
                   "INSERT INTO ca_holds (device_serial, at, holders) VALUES (?1, ?2, ?3) "
                   "ON CONFLICT (device_serial) DO NOTHING",
                   "tii", ""},
    [STMT_SET_MARK] = {"ca.hold_set_mark",
                       "UPDATE ca_holds SET holders = ?2 WHERE device_serial = ?1", "ti", ""},
    [STMT_UNMARK] = {"ca.hold_unmark", "DELETE FROM ca_holds WHERE device_serial = ?1", "t", ""},
    [STMT_MARKED] = {"ca.hold_marked", "SELECT holders FROM ca_holds WHERE device_serial = ?1", "t",
                     "i"},
};

const struct store_stmts ca_revoke_stmts = {stmts, STMT_MAX};

/* --- names ----------------------------------------------------------------------------------- */

static const char *const states[] = {
    [CA_GOOD] = "good", [CA_REVOKED] = "revoked", [CA_HELD] = "held"};

const char *ca_state_name(enum ca_state s)
{
    return (size_t)s < TD_NITEMS(states) ? states[s] : "revoked";
}

bool ca_state_parse(struct span name, enum ca_state *ret)
{
    for (size_t i = 0; i < TD_NITEMS(states); i++) {
        if (span_eq_str(name, states[i])) {
            *ret = (enum ca_state)i;
            return true;
        }
    }
    return false;
}

const char *ca_holder_name(enum ca_holder h)
{
    return h == CA_BY_POSTURE ? "posture" : "administrator";
}

static const struct {
    const char *name;
    bool allowed;
} reasons[] = {
    [0] = {"unspecified", true},
    [1] = {"keyCompromise", true},
    [2] = {"cACompromise", false},
    [3] = {"affiliationChanged", true},
    [4] = {"superseded", true},
    [5] = {"cessationOfOperation", true},
    [HOLD_REASON] = {"certificateHold", false},
    [8] = {"removeFromCRL", false},
    [9] = {"privilegeWithdrawn", true},
    [10] = {"aACompromise", false},
};

static bool known(int reason)
{
    return reason >= 0 && (size_t)reason < TD_NITEMS(reasons) && reasons[reason].name;
}

const char *ca_reason_name(int reason)
{
    return known(reason) ? reasons[reason].name : NULL;
}

bool ca_reason_allowed(int reason)
{
    return known(reason) && reasons[reason].allowed;
}

static enum td_err not_allowed(struct errinfo *ei)
{
    return err_reason(ei, TD_INVAL, "revocation-reason",
                      "a device's certificate is not revoked for this reason");
}

enum td_err ca_reason_parse(struct span name, int *ret, struct errinfo *ei)
{
    for (int i = 0; (size_t)i < TD_NITEMS(reasons); i++) {
        if (ca_reason_allowed(i) && span_eq_str(name, reasons[i].name)) {
            *ret = i;
            return TD_OK;
        }
    }
    return not_allowed(ei);
}

/* --- one row --------------------------------------------------------------------------------- */

struct row {
    struct span serial;
    const char *device, *purpose;
    struct span issuer; /* empty in rows that are not filled in yet: no CRL was made with them */
    int64_t shard, rev;
    enum ca_state state;
    int reason;
    unsigned holders;
};

static enum td_err read_row(const struct cur *c, struct arena *a, struct row *ret,
                            struct errinfo *ei)
{
    *ret = (struct row){
        .serial = cur_span_dup(c, 0, a),
        .device = cur_dup(c, 1, a),
        .purpose = cur_dup(c, 2, a),
        .issuer = cur_span_dup(c, 3, a),
        .shard = cur_int(c, 4),
        .state = ca_state_of(cur_int(c, 5)),
        .reason = cur_is_null(c, 6) ? -1 : (int)cur_int(c, 6),
        .rev = cur_int(c, 7),
        .holders = (unsigned)cur_int(c, 8),
    };
    bool whole =
        ret->serial.p && ret->device && ret->purpose && (ret->issuer.p || cur_is_null(c, 3));
    return whole ? TD_OK : err_set(ei, TD_NOMEM, "no memory for a certificate's row");
}

static enum td_err find(struct tx *tx, const struct store_stmt *st, struct span key,
                        struct arena *a, struct row *ret, struct errinfo *ei)
{
    struct cur c;
    enum td_err e = tx_row(tx, st, SV_LIST(SV_BLOB(key)), &c, ei);
    if (e == TD_NOTFOUND)
        return err_set(ei, TD_NOTFOUND, "no such certificate");
    TD_TRY(e);
    e = read_row(&c, a, ret, ei);
    cur_end(&c);
    return e;
}

static unsigned bit(const struct ca_change *c)
{
    return 1U << c->by;
}

/* What the act makes of the row. */
struct goal {
    enum ca_state state;
    unsigned holders;
};

static enum td_err aim(const struct row *r, const struct ca_change *c, struct goal *ret,
                       struct errinfo *ei)
{
    *ret = (struct goal){r->state, r->holders};
    if (c->act == CA_ACT_REVOKE) {
        *ret = (struct goal){CA_REVOKED, 0};
    } else if (c->act == CA_ACT_HOLD) {
        *ret = (struct goal){CA_HELD, r->holders | bit(c)};
    } else if (r->state == CA_HELD) {
        if (!(r->holders & bit(c)))
            return err_reason(ei, TD_STATE, "held-by-another",
                              "%s holds the certificate, and has to let it go",
                              c->by == CA_BY_ADMIN ? "posture" : "an administrator");
        ret->holders &= ~bit(c);
        ret->state = ret->holders ? CA_HELD : CA_GOOD;
    }
    return TD_OK;
}

/* An error when the act must not be. */
static enum td_err judge(const struct row *r, const struct ca_change *c, struct goal *ret,
                         struct errinfo *ei)
{
    if (c->act == CA_ACT_REVOKE && !ca_reason_allowed(c->reason))
        return not_allowed(ei);
    if (c->if_match != CA_IF_ANY && c->if_match != r->rev) {
        enum td_err e = err_reason(ei, TD_CONFLICT, "rev-mismatch",
                                   "the certificate's status is not what the caller saw");
        if (ei)
            ei->http = 412;
        return e;
    }
    bool same = c->act == CA_ACT_REVOKE && c->reason == r->reason;
    if (r->state == CA_REVOKED && !same)
        return err_reason(ei, TD_STATE, "already-revoked", "the certificate is revoked (%s)",
                          known(r->reason) ? reasons[r->reason].name : "no reason");
    return aim(r, c, ret, ei);
}

static enum td_err count_change(struct tx *tx, const struct row *r, struct errinfo *ei)
{
    if (r->issuer.n == 0)
        return TD_OK;
    return tx_exec(tx, &stmts[STMT_COUNT], SV_LIST(SV_BLOB(r->issuer), SV_INT(r->shard)), NULL, ei);
}

static enum td_err write_row(struct tx *tx, const struct row *r, const struct ca_change *c,
                             const struct goal *g, struct errinfo *ei)
{
    int64_t changes = 0;
    const struct sval serial = SV_BLOB(r->serial), rev = SV_INT(r->rev), now = SV_INT(c->now);
    if (g->state == r->state)
        TD_TRY(tx_exec(tx, &stmts[STMT_HOLDERS], SV_LIST(serial, rev, SV_INT(g->holders)), &changes,
                       ei));
    else if (g->state == CA_GOOD)
        TD_TRY(tx_exec(tx, &stmts[STMT_RELEASE], SV_LIST(serial, rev), &changes, ei));
    else if (g->state == CA_HELD)
        TD_TRY(tx_exec(tx, &stmts[STMT_HOLD],
                       SV_LIST(serial, rev, now, SV_INT(HOLD_REASON), SV_INT(g->holders)), &changes,
                       ei));
    else
        TD_TRY(tx_exec(tx, &stmts[STMT_REVOKE], SV_LIST(serial, rev, now, SV_INT(c->reason)),
                       &changes, ei));
    if (changes != 1)
        return err_set(ei, TD_CONFLICT, "the certificate's status changed meanwhile");
    return g->state == r->state ? TD_OK : count_change(tx, r, ei);
}

static enum td_err record(struct tx *tx, const struct row *r, const struct ca_change *c,
                          struct errinfo *ei)
{
    static const struct {
        const char *action;
        enum outbox_type event;
    } acts[] = {[CA_ACT_REVOKE] = {"certificate.revoke", OUTBOX_CERT_REVOKED},
                [CA_ACT_HOLD] = {"certificate.hold", OUTBOX_CERT_HELD},
                [CA_ACT_RELEASE] = {"certificate.release", OUTBOX_CERT_RELEASED}};
    char hex[2 * CRL_SERIAL_MAX + 1], detail[DETAIL_MAX];
    const char *reason = c->act == CA_ACT_REVOKE ? reasons[c->reason].name : NULL;
    if (!c->txn)
        return TD_OK;
    hex_enc(span_sub(r->serial, 0, CRL_SERIAL_MAX), hex);
    const struct outbox_event ev = {
        .type = acts[c->act].event,
        .at = c->now,
        .txn = c->txn,
        .actor = c->actor,
        .device = r->device,
        .certificate = hex,
        .data = {{"purpose", r->purpose}, {"was", ca_state_name(r->state)}, {"reason", reason}}};
    TD_TRY(outbox_add(tx, &ev, ei));
    if (c->summed)
        return TD_OK;
    snprintf(detail, sizeof detail, "device=%s was=%s%s%s", r->device, ca_state_name(r->state),
             reason ? " reason=" : "", reason ? reason : "");
    return audit_add(tx, c->now, c->txn, c->actor, acts[c->act].action, hex, detail, ei);
}

/* *ret_changed: it has another status. */
static enum td_err change(struct tx *tx, const struct row *r, const struct ca_change *c,
                          bool *ret_changed, struct errinfo *ei)
{
    struct goal g = {0};
    *ret_changed = false;
    TD_TRY(judge(r, c, &g, ei));
    if (g.state == r->state && g.holders == r->holders)
        return TD_OK;
    TD_TRY(write_row(tx, r, c, &g, ei));
    *ret_changed = g.state != r->state;
    return *ret_changed ? record(tx, r, c, ei) : TD_OK;
}

enum td_err ca_change_one(struct tx *tx, struct span serial, const struct ca_change *c,
                          bool *ret_changed, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct row r = {0};
    TD_TRY(find(tx, &stmts[STMT_ONE], serial, &a, &r, ei));
    return change(tx, &r, c, ret_changed, ei);
}

/* --- all of a device ------------------------------------------------------------------------- */

struct rows {
    struct row *list;
    size_t n, cap;
};

static enum td_err add_row(struct rows *rs, const struct cur *c, struct arena *a,
                           struct errinfo *ei)
{
    if (rs->n == rs->cap) {
        size_t cap = rs->cap ? 2 * rs->cap : 8;
        struct row *wider = arena_alloc(a, cap * sizeof *wider);
        if (!wider)
            return err_set(ei, TD_NOMEM, "no memory for the certificates of a device");
        if (rs->n)
            memcpy(wider, rs->list, rs->n * sizeof *wider);
        rs->list = wider;
        rs->cap = cap;
    }
    return read_row(c, a, &rs->list[rs->n++], ei);
}

/* Read whole before the first is changed. */
static enum td_err rows_of(struct tx *tx, const char *device, const struct ca_change *ch,
                           struct arena *a, struct rows *ret, struct errinfo *ei)
{
    static const struct {
        int64_t lo, hi;
    } range[] = {/* good and held ones are apart: judge() sorts the revoked ones out */
                 [CA_ACT_REVOKE] = {CA_GOOD, CA_HELD},
                 [CA_ACT_HOLD] = {CA_GOOD, CA_HELD},
                 [CA_ACT_RELEASE] = {CA_HELD, CA_HELD}};
    struct cur c;
    TD_TRY(tx_query(tx, &stmts[STMT_OF],
                    SV_LIST(SV_TEXT(device), SV_INT(range[ch->act].lo), SV_INT(range[ch->act].hi)),
                    &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        if (ca_state_of(cur_int(&c, 5)) == CA_REVOKED)
            continue;
        if (ch->act == CA_ACT_RELEASE && !((unsigned)cur_int(&c, 8) & bit(ch)))
            continue;
        e = add_row(ret, &c, a, ei);
        if (e != TD_OK)
            break;
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err ca_one_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct ca_one *j = ctx;
    if (j->act)
        TD_TRY(ca_change_one(tx, j->serial, &j->change, &j->changed, ei));
    enum td_err e = ca_record_get(tx, j->serial, j->a, j->r, ei);
    return e == TD_NOTFOUND ? err_set(ei, e, "no such certificate") : e;
}

enum td_err ca_change_device(struct tx *tx, const char *device_serial, const char *purpose,
                             const struct ca_change *c, int64_t *ret_n, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct rows rs = {0};
    *ret_n = 0;
    TD_TRY(rows_of(tx, device_serial, c, &a, &rs, ei));
    for (size_t i = 0; i < rs.n; i++) {
        bool changed = false;
        if (purpose && strcmp(rs.list[i].purpose, purpose) != 0)
            continue;
        TD_TRY(change(tx, &rs.list[i], c, &changed, ei));
        *ret_n += changed;
    }
    return TD_OK;
}

/* *ret_changed: the holder did not hold the device before, or did. */
static enum td_err mark(struct tx *tx, const char *device, bool hold, const struct ca_change *c,
                        bool *ret_changed, struct errinfo *ei)
{
    unsigned was;
    TD_TRY(ca_device_held(tx, device, &was, ei));
    unsigned now = hold ? was | bit(c) : was & ~bit(c);
    *ret_changed = now != was;
    if (now == was)
        return TD_OK;
    if (now == 0)
        return tx_exec(tx, &stmts[STMT_UNMARK], SV_LIST(SV_TEXT(device)), NULL, ei);
    if (was == 0)
        return tx_exec(tx, &stmts[STMT_MARK], SV_LIST(SV_TEXT(device), SV_INT(c->now), SV_INT(now)),
                       NULL, ei);
    return tx_exec(tx, &stmts[STMT_SET_MARK], SV_LIST(SV_TEXT(device), SV_INT(now)), NULL, ei);
}

enum td_err ca_hold_device(struct tx *tx, const char *device_serial, bool hold,
                           const struct ca_change *c, int64_t *ret_n, struct errinfo *ei)
{
    struct ca_change all = *c;
    bool marked;
    all.act = hold ? CA_ACT_HOLD : CA_ACT_RELEASE;
    all.if_match = CA_IF_ANY;
    TD_TRY(mark(tx, device_serial, hold, c, &marked, ei));
    TD_TRY(ca_change_device(tx, device_serial, "access", &all, ret_n, ei));
    if (!c->txn || (!marked && *ret_n == 0))
        return TD_OK;
    char detail[64];
    snprintf(detail, sizeof detail, "certificates=%lld by=%s", (long long)*ret_n,
             ca_holder_name(c->by));
    return audit_add(tx, c->now, c->txn, c->actor, hold ? "device.hold" : "device.release",
                     device_serial, detail, ei);
}

enum td_err ca_device_held(struct tx *tx, const char *device_serial, unsigned *ret,
                           struct errinfo *ei)
{
    struct cur c;
    *ret = 0;
    enum td_err e = tx_row(tx, &stmts[STMT_MARKED], SV_LIST(SV_TEXT(device_serial)), &c, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    *ret = (unsigned)cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static struct ca_change revocation(const struct ca_change *c)
{
    struct ca_change all = *c;
    all.act = CA_ACT_REVOKE;
    all.if_match = CA_IF_ANY;
    all.summed = true;
    return all;
}

enum td_err ca_revoke_device(struct tx *tx, const char *device_serial, const struct ca_change *c,
                             int64_t *ret_count, struct errinfo *ei)
{
    const struct ca_change all = revocation(c);
    int64_t n;
    TD_TRY(ca_change_device(tx, device_serial, NULL, &all, &n, ei));
    TD_TRY(tx_exec(tx, &stmts[STMT_UNMARK], SV_LIST(SV_TEXT(device_serial)), NULL, ei));
    if (ret_count)
        *ret_count = n;
    return TD_OK;
}

enum td_err ca_revoke_one(struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                          const struct ca_change *c, int64_t *ret_count, struct errinfo *ei)
{
    const struct ca_change one = revocation(c);
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct row r = {0};
    bool changed = false;
    enum td_err e = find(tx, &stmts[STMT_BY_HASH], span_of(sha256, SHA256_SIZE), &a, &r, ei);
    if (e == TD_OK && r.state != CA_REVOKED)
        e = change(tx, &r, &one, &changed, ei);
    if (ret_count)
        *ret_count = changed;
    return e == TD_NOTFOUND ? TD_OK : e;
}
