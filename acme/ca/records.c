#include "acme/ca/ca.h"

#include "acme/ca/ca_int.h"
#include "mdm/base/hex.h"
#include "mdm/store/outbox.h"

#define FILL_STEP 1000

#define COLUMNS                                                                                    \
    "serial, device_serial, profile, purpose, sha256, spki_sha256, der, not_before, not_after, "   \
    "status, revoked_at, reason, order_id, evidence_id, created_at, issuer, shard, rev, renews, "  \
    "holders"
#define COLUMN_TYPES "btttbbbiiiIITTiBiiBi"

enum {
    STMT_ADD,
    STMT_GET,
    STMT_BY_HASH,
    STMT_OF,
    STMT_LIST,
    STMT_LIST_STATE,
    STMT_LIST_DEVICE,
    STMT_STATUS,
    STMT_FILL_ISSUER,
    STMT_MAX
};

static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_ADD] = {"ca.record_add",
                  "INSERT INTO certificates (serial, device_serial, profile, purpose, sha256, "
                  "spki_sha256, der, not_before, not_after, status, order_id, evidence_id, "
                  "created_at, issuer, shard, renew_at, renews) VALUES (?1, ?2, ?3, ?4, ?5, ?6, "
                  "?7, ?8, ?9, 0, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
                  "btttbbbiiTTibiIB", ""},
    [STMT_GET] = {"ca.record_get", "SELECT " COLUMNS " FROM certificates WHERE serial = ?1", "b",
                  COLUMN_TYPES},
    [STMT_BY_HASH] = {"ca.record_by_hash", "SELECT " COLUMNS " FROM certificates WHERE sha256 = ?1",
                      "b", COLUMN_TYPES},
    [STMT_OF] = {"ca.records_of",
                 "SELECT " COLUMNS " FROM certificates WHERE device_serial = ?1 "
                 "ORDER BY created_at DESC, not_after DESC, serial LIMIT ?2",
                 "ti", COLUMN_TYPES},
    [STMT_LIST] = {"ca.records_list",
                   "SELECT " COLUMNS " FROM certificates WHERE serial > ?1 "
                   "ORDER BY serial LIMIT ?2",
                   "bi", COLUMN_TYPES},
    [STMT_LIST_STATE] = {"ca.records_list_state",
                         "SELECT " COLUMNS " FROM certificates WHERE serial > ?1 AND status = ?3 "
                         "ORDER BY serial LIMIT ?2",
                         "bii", COLUMN_TYPES},
    [STMT_LIST_DEVICE] = {"ca.records_list_device",
                          "SELECT " COLUMNS " FROM certificates WHERE serial > ?1 AND "
                          "device_serial = ?4 AND (?3 < 0 OR status = ?3) "
                          "ORDER BY serial LIMIT ?2",
                          "biit", COLUMN_TYPES},
    [STMT_STATUS] = {"ca.status",
                     "SELECT status, revoked_at, reason, issuer, not_after FROM certificates "
                     "WHERE serial = ?1",
                     "b", "iIIBi"},
    [STMT_FILL_ISSUER] = {"ca.fill_issuer",
                          "UPDATE certificates SET issuer = ?1 WHERE serial IN (SELECT serial "
                          "FROM certificates WHERE issuer IS NULL LIMIT ?2)",
                          "bi", ""},
};

const struct store_stmts ca_stmts = {stmts, STMT_MAX};

/* Access certificates alone are put on hold as a device's. */
static enum td_err hold_new(struct tx *tx, const struct ca_record *r, struct errinfo *ei)
{
    unsigned holders;
    bool changed;
    if (strcmp(r->purpose, "access") != 0)
        return TD_OK;
    TD_TRY(ca_device_held(tx, r->device_serial, &holders, ei));
    struct ca_change hold = {.act = CA_ACT_HOLD,
                             .if_match = CA_IF_ANY,
                             .now = r->created_at,
                             .txn = r->order_id,
                             .summed = true};
    for (hold.by = 0; hold.by < CA_HOLDERS; hold.by++)
        if (holders & 1U << hold.by)
            TD_TRY(ca_change_one(tx, r->serial, &hold, &changed, ei));
    return TD_OK;
}

/* The order is the cause. */
static enum td_err tell(struct tx *tx, const struct ca_record *r, struct errinfo *ei)
{
    char hex[2 * CRL_SERIAL_MAX + 1], old[2 * CRL_SERIAL_MAX + 1];
    hex_enc(span_sub(r->serial, 0, CRL_SERIAL_MAX), hex);
    hex_enc(span_sub(r->renews, 0, CRL_SERIAL_MAX), old);
    const struct outbox_event ev = {.type = r->renews.n ? OUTBOX_CERT_RENEWED : OUTBOX_CERT_ISSUED,
                                    .at = r->created_at,
                                    .txn = r->order_id ? r->order_id : hex,
                                    .device = r->device_serial,
                                    .certificate = hex,
                                    .data = {{"profile", r->profile},
                                             {"purpose", r->purpose},
                                             {"renews", r->renews.n ? old : NULL}}};
    return outbox_add(tx, &ev, ei);
}

enum td_err ca_record_add(struct tx *tx, const struct ca_record *r, struct errinfo *ei)
{
    TD_TRY(
        tx_exec(tx, &stmts[STMT_ADD],
                SV_LIST(SV_BLOB(r->serial), SV_TEXT(r->device_serial), SV_TEXT(r->profile),
                        SV_TEXT(r->purpose), SV_BLOB(SPAN_ARR(r->sha256)),
                        SV_BLOB(SPAN_ARR(r->spki_sha256)), SV_BLOB(r->der), SV_INT(r->not_before),
                        SV_INT(r->not_after), SV_TEXT0(r->order_id), SV_TEXT0(r->evidence_id),
                        SV_INT(r->created_at), SV_BLOB(SPAN_ARR(r->issuer)), SV_INT(r->shard),
                        r->renew_at ? SV_INT(r->renew_at) : SV_NULL, SV_BLOB0(r->renews)),
                NULL, ei));
    TD_TRY(tell(tx, r, ei));
    return hold_new(tx, r, ei);
}

static bool copy_hash(const struct cur *c, int i, uint8_t out[static SHA256_SIZE])
{
    struct span s = cur_span(c, i);
    if (s.n != SHA256_SIZE)
        return false;
    memcpy(out, s.p, SHA256_SIZE);
    return true;
}

/* Zeros where there is none. */
static void copy_issuer(const struct cur *c, int i, uint8_t out[static CERT_SKI_SIZE])
{
    struct span s = cur_span(c, i);
    if (s.n == CERT_SKI_SIZE)
        memcpy(out, s.p, CERT_SKI_SIZE);
}

/* Whether every text and blob of the row could be copied. */
static bool whole(const struct cur *c, const struct ca_record *r)
{
    return r->serial.p && r->device_serial && r->profile && r->purpose && r->der.p &&
           (r->order_id || cur_is_null(c, 12)) && (r->evidence_id || cur_is_null(c, 13)) &&
           (r->renews.p || cur_is_null(c, 18));
}

/* The current row, copied into the arena. */
static enum td_err read_row(const struct cur *c, struct arena *a, struct ca_record *ret,
                            struct errinfo *ei)
{
    struct ca_record r = {
        .serial = cur_span_dup(c, 0, a),
        .device_serial = cur_dup(c, 1, a),
        .profile = cur_dup(c, 2, a),
        .purpose = cur_dup(c, 3, a),
        .der = cur_span_dup(c, 6, a),
        .not_before = cur_int(c, 7),
        .not_after = cur_int(c, 8),
        .state = ca_state_of(cur_int(c, 9)),
        .revoked = cur_int(c, 9) != CA_GOOD,
        .revoked_at = cur_is_null(c, 10) ? 0 : cur_int(c, 10),
        .reason = cur_is_null(c, 11) ? -1 : (int)cur_int(c, 11),
        .order_id = cur_dup(c, 12, a),
        .evidence_id = cur_dup(c, 13, a),
        .created_at = cur_int(c, 14),
        .shard = cur_int(c, 16),
        .rev = cur_int(c, 17),
        .renews = cur_span_dup(c, 18, a),
        .holders = (unsigned)cur_int(c, 19),
    };
    if (!whole(c, &r))
        return err_set(ei, TD_NOMEM, "no memory for a certificate's record");
    if (!copy_hash(c, 4, r.sha256) || !copy_hash(c, 5, r.spki_sha256))
        return err_set(ei, TD_DB, "a certificate's record is damaged");
    copy_issuer(c, 15, r.issuer);
    *ret = r;
    return TD_OK;
}

static enum td_err get_one(struct tx *tx, const struct store_stmt *st, struct span key,
                           struct arena *a, struct ca_record *ret, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, st, SV_LIST(SV_BLOB(key)), &c, ei));
    enum td_err e = read_row(&c, a, ret, ei);
    cur_end(&c);
    return e;
}

enum td_err ca_record_get(struct tx *tx, struct span serial, struct arena *a, struct ca_record *ret,
                          struct errinfo *ei)
{
    return get_one(tx, &stmts[STMT_GET], serial, a, ret, ei);
}

enum td_err ca_record_by_hash(struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                              struct arena *a, struct ca_record *ret, struct errinfo *ei)
{
    return get_one(tx, &stmts[STMT_BY_HASH], span_of(sha256, SHA256_SIZE), a, ret, ei);
}

/* Room for one more; the list doubles, the old one stays in the arena. */
static struct ca_record *grow(struct ca_record *list, size_t n, size_t *cap, struct arena *a)
{
    if (n < *cap)
        return list;
    size_t more = *cap ? *cap * 2 : 8;
    struct ca_record *wider = arena_alloc(a, more * sizeof *wider);
    if (!wider)
        return NULL;
    if (n)
        memcpy(wider, list, n * sizeof *list);
    *cap = more;
    return wider;
}

/* The rows of an open cursor, which it ends. */
static enum td_err collect(struct cur *c, struct arena *a, struct ca_record **ret, size_t *ret_n,
                           struct errinfo *ei)
{
    struct ca_record *list = NULL;
    size_t n = 0, cap = 0;
    enum td_err e;
    while ((e = cur_next(c, ei)) == TD_OK) {
        list = grow(list, n, &cap, a);
        e = list ? read_row(c, a, &list[n], ei)
                 : err_set(ei, TD_NOMEM, "no memory for the list of certificates");
        if (e != TD_OK)
            break;
        n++;
    }
    cur_end(c);
    if (e != TD_NOTFOUND)
        return e;
    *ret = list;
    *ret_n = n;
    return TD_OK;
}

enum td_err ca_records_of(struct tx *tx, const char *device_serial, size_t max, struct arena *a,
                          struct ca_record **ret, size_t *ret_n, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_query(tx, &stmts[STMT_OF], SV_LIST(SV_TEXT(device_serial), SV_INT(max)), &c, ei));
    return collect(&c, a, ret, ret_n, ei);
}

enum td_err ca_records_list(struct tx *tx, const struct ca_filter *f, struct arena *a,
                            struct ca_record **ret, size_t *ret_n, struct errinfo *ei)
{
    /* no serial number is 0 (RFC 5280 section 4.1.2.2) */
    const struct sval args[] = {SV_BLOB(f->after.n ? f->after : SPAN_LIT("\0")), SV_INT(f->max),
                                SV_INT(f->state), SV_TEXT(f->device_serial)};
    struct cur c;
    if (f->device_serial)
        TD_TRY(tx_query(tx, &stmts[STMT_LIST_DEVICE], args, 4, &c, ei));
    else if (f->state >= 0)
        TD_TRY(tx_query(tx, &stmts[STMT_LIST_STATE], args, 3, &c, ei));
    else
        TD_TRY(tx_query(tx, &stmts[STMT_LIST], args, 2, &c, ei));
    return collect(&c, a, ret, ret_n, ei);
}

enum td_err ca_status_get(struct tx *tx, struct span serial, struct ca_status *ret,
                          struct errinfo *ei)
{
    struct cur c;
    *ret = (struct ca_status){.reason = -1};
    enum td_err e = tx_row(tx, &stmts[STMT_STATUS], SV_LIST(SV_BLOB(serial)), &c, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    ret->known = true;
    ret->revoked = cur_int(&c, 0) != CA_GOOD;
    if (ret->revoked && !cur_is_null(&c, 1))
        ret->revoked_at = cur_int(&c, 1);
    if (ret->revoked && !cur_is_null(&c, 2))
        ret->reason = (int)cur_int(&c, 2);
    copy_issuer(&c, 3, ret->issuer);
    ret->not_after = cur_int(&c, 4);
    cur_end(&c);
    return TD_OK;
}

struct fill {
    const uint8_t *id;
    int64_t changed;
};

static enum td_err fill_some(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct fill *f = ctx;
    return tx_exec(tx, &stmts[STMT_FILL_ISSUER],
                   SV_LIST(SV_BLOB(span_of(f->id, CERT_SKI_SIZE)), SV_INT(FILL_STEP)), &f->changed,
                   ei);
}

enum td_err ca_fill_issuer(struct store *s, const uint8_t id[static CERT_SKI_SIZE],
                           struct errinfo *ei)
{
    struct fill f = {.id = id};
    do
        TD_TRY(store_write(s, fill_some, &f, ei));
    while (f.changed > 0);
    return TD_OK;
}
