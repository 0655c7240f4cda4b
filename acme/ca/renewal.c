#include "acme/ca/renewal.h"

#include "mdm/base/hex.h"

#define WAIT_MAX INT64_C(86400)
#define SUPERSEDED 4 /* CRLReason, RFC 5280 section 5.3.1 */

enum {
    STMT_DUE,
    STMT_CLAIM,
    STMT_DONE,
    STMT_SUCCESSOR,
    STMT_NEWEST,
    STMT_RETIRE_DUE,
    STMT_RETIRE,
    STMT_OTHERS,
    STMT_OF_PROFILE,
    STMT_REPLACED,
    STMT_MAX
};

/* The claim names the time that was read: whoever comes second finds another. */
static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_DUE] = {"ca.renewal_due",
                  "SELECT serial, device_serial, profile, purpose, sha256, status, not_after, "
                  "renew_at, renew_tries, renew_command FROM certificates WHERE renew_at <= ?1 "
                  "ORDER BY renew_at LIMIT ?2",
                  "ii", "btttbiiiiT"},
    [STMT_CLAIM] = {"ca.renewal_claim",
                    "UPDATE certificates SET renew_at = ?3, renew_tries = renew_tries + 1, "
                    "renew_command = COALESCE(?4, renew_command) WHERE serial = ?1 AND "
                    "renew_at = ?2",
                    "biiT", ""},
    [STMT_DONE] = {"ca.renewal_done",
                   "UPDATE certificates SET renew_at = NULL, retire_at = ?3 WHERE serial = ?1 AND "
                   "renew_at = ?2",
                   "biI", ""},
    [STMT_SUCCESSOR] = {"ca.renewal_successor",
                        "SELECT serial FROM certificates WHERE device_serial = ?1 AND status <> 1 "
                        "AND renews = ?2 LIMIT 1",
                        "tb", "b"},
    [STMT_NEWEST] = {"ca.renewal_newest",
                     "SELECT serial, created_at FROM certificates WHERE device_serial = ?1 AND "
                     "status <> 1 AND profile = ?2",
                     "tt", "bi"},
    [STMT_RETIRE_DUE] = {"ca.retire_due",
                         "SELECT sha256, serial FROM certificates WHERE retire_at <= ?1 ORDER BY "
                         "retire_at LIMIT ?2",
                         "ii", "bb"},
    [STMT_RETIRE] = {"ca.retire", "UPDATE certificates SET retire_at = NULL WHERE serial = ?1", "b",
                     ""},
    [STMT_OTHERS] = {"ca.renewal_others",
                     "SELECT sha256 FROM certificates WHERE device_serial = ?1 AND status <> 1 AND "
                     "renews = ?2 AND sha256 <> ?3 LIMIT 1",
                     "tbb", "b"},
    [STMT_OF_PROFILE] = {"ca.of_profile",
                         "SELECT sha256 FROM certificates WHERE device_serial = ?1 AND status <> 1 "
                         "AND profile = ?2 LIMIT 1",
                         "tt", "b"},
    [STMT_REPLACED] = {"ca.replaced",
                       "UPDATE certificates SET renew_at = NULL, retire_at = CASE WHEN not_after < "
                       "?2 THEN not_after ELSE ?2 END WHERE serial = ?1 AND purpose = 'access' AND "
                       "retire_at IS NULL",
                       "bi", ""},
};

const struct store_stmts ca_renewal_stmts = {stmts, STMT_MAX};

int64_t ca_renewal_wait(int64_t first, int64_t tries)
{
    int64_t wait = first;
    for (int64_t i = 0; i < tries && wait < WAIT_MAX; i++)
        wait *= 2;
    return wait < WAIT_MAX ? wait : WAIT_MAX;
}

static enum td_err read_due(const struct cur *c, struct arena *a, struct ca_due *ret,
                            struct errinfo *ei)
{
    struct ca_due d = {
        .serial = cur_span_dup(c, 0, a),
        .device_serial = cur_dup(c, 1, a),
        .profile = cur_dup(c, 2, a),
        .access = span_eq_str(cur_span(c, 3), "access"),
        .good = cur_int(c, 5) != CA_REVOKED,
        .not_after = cur_int(c, 6),
        .renew_at = cur_int(c, 7),
        .tries = cur_int(c, 8),
        .command = cur_dup(c, 9, a),
    };
    struct span hash = cur_span(c, 4);
    if (!d.serial.p || !d.device_serial || !d.profile || (!d.command && !cur_is_null(c, 9)))
        return err_set(ei, TD_NOMEM, "no memory for renewals");
    if (hash.n != SHA256_SIZE)
        return err_set(ei, TD_DB, "a certificate's record is damaged");
    memcpy(d.sha256, hash.p, SHA256_SIZE);
    *ret = d;
    return TD_OK;
}

enum td_err ca_renewal_due(struct tx *tx, int64_t now, size_t max, struct arena *a,
                           struct ca_due *ret, size_t *ret_n, struct errinfo *ei)
{
    struct cur c;
    *ret_n = 0;
    TD_TRY(tx_query(tx, &stmts[STMT_DUE], SV_LIST(SV_INT(now), SV_INT(max)), &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK && *ret_n < max) {
        e = read_due(&c, a, &ret[*ret_n], ei);
        if (e != TD_OK)
            break;
        ++*ret_n;
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

static enum td_err one_row(enum td_err e, int64_t changes, struct errinfo *ei)
{
    TD_TRY(e);
    return changes == 1 ? TD_OK : err_set(ei, TD_AGAIN, "another node took this renewal");
}

enum td_err ca_renewal_claim(struct tx *tx, const struct ca_due *d, int64_t next,
                             const char *command, struct errinfo *ei)
{
    int64_t changes = 0;
    enum td_err e =
        tx_exec(tx, &stmts[STMT_CLAIM],
                SV_LIST(SV_BLOB(d->serial), SV_INT(d->renew_at), SV_INT(next), SV_TEXT0(command)),
                &changes, ei);
    return one_row(e, changes, ei);
}

enum td_err ca_renewal_done(struct tx *tx, const struct ca_due *d, int64_t retire_at,
                            struct errinfo *ei)
{
    int64_t changes = 0;
    enum td_err e = tx_exec(
        tx, &stmts[STMT_DONE],
        SV_LIST(SV_BLOB(d->serial), SV_INT(d->renew_at), retire_at ? SV_INT(retire_at) : SV_NULL),
        &changes, ei);
    return one_row(e, changes, ei);
}

enum td_err ca_renewal_successor(struct tx *tx, const struct ca_due *d, bool *ret,
                                 struct errinfo *ei)
{
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[STMT_SUCCESSOR],
                           SV_LIST(SV_TEXT(d->device_serial), SV_BLOB(d->serial)), &c, ei);
    *ret = e == TD_OK;
    if (e == TD_OK)
        cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err ca_renewal_newest(struct tx *tx, const char *device_serial, const char *profile,
                              struct arena *a, struct span *ret, struct errinfo *ei)
{
    struct cur c;
    int64_t newest = -1;
    *ret = (struct span){NULL, 0};
    TD_TRY(tx_query(tx, &stmts[STMT_NEWEST], SV_LIST(SV_TEXT(device_serial), SV_TEXT(profile)), &c,
                    ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        if (cur_int(&c, 1) <= newest)
            continue;
        newest = cur_int(&c, 1);
        *ret = cur_span_dup(&c, 0, a);
        if (!ret->p) {
            cur_end(&c);
            return err_set(ei, TD_NOMEM, "no memory");
        }
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err ca_renewal_replaced(struct tx *tx, struct span serial, int64_t retire_at,
                                struct errinfo *ei)
{
    return tx_exec(tx, &stmts[STMT_REPLACED], SV_LIST(SV_BLOB(serial), SV_INT(retire_at)), NULL,
                   ei);
}

/* The first row's digest and number; TD_NOTFOUND when nothing is to be retired. */
static enum td_err retire_one(struct tx *tx, int64_t now, int64_t *ret_count, struct errinfo *ei)
{
    uint8_t hash[SHA256_SIZE], number[64];
    struct cur c;
    TD_TRY(tx_row(tx, &stmts[STMT_RETIRE_DUE], SV_LIST(SV_INT(now), SV_INT(1)), &c, ei));
    struct span h = cur_span(&c, 0), serial = cur_span(&c, 1);
    bool fits = h.n == sizeof hash && serial.n <= sizeof number;
    if (fits) {
        memcpy(hash, h.p, sizeof hash);
        memcpy(number, serial.p, serial.n);
        serial.p = number;
    }
    cur_end(&c);
    if (!fits)
        return err_set(ei, TD_DB, "a certificate's record is damaged");
    char hex[2 * sizeof number + 1];
    hex_enc(serial, hex);
    const struct ca_change why = {.reason = SUPERSEDED, .now = now, .txn = hex};
    int64_t n = 0;
    TD_TRY(ca_revoke_one(tx, hash, &why, &n, ei));
    *ret_count += n;
    return tx_exec(tx, &stmts[STMT_RETIRE], SV_LIST(SV_BLOB(serial)), NULL, ei);
}

enum td_err ca_renewal_retire(struct tx *tx, int64_t now, size_t max, int64_t *ret_count,
                              struct errinfo *ei)
{
    *ret_count = 0;
    for (size_t i = 0; i < max; i++) {
        enum td_err e = retire_one(tx, now, ret_count, ei);
        if (e != TD_OK)
            return e == TD_NOTFOUND ? TD_OK : e;
    }
    return TD_OK;
}

/* Revokes what the query finds, one after the other, until it finds nothing. */
static enum td_err end_all(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                           size_t nargs, const struct ca_change *why, int64_t *ret_count,
                           struct errinfo *ei)
{
    for (;;) {
        uint8_t hash[SHA256_SIZE];
        struct cur c;
        enum td_err e = tx_row(tx, st, args, nargs, &c, ei);
        if (e == TD_NOTFOUND)
            return TD_OK;
        TD_TRY(e);
        struct span h = cur_span(&c, 0);
        bool fits = h.n == sizeof hash;
        if (fits)
            memcpy(hash, h.p, sizeof hash);
        cur_end(&c);
        int64_t n = 0;
        if (fits)
            TD_TRY(ca_revoke_one(tx, hash, why, &n, ei));
        if (n != 1)
            return err_set(ei, TD_INTERNAL, "a certificate does not end");
        *ret_count += n;
    }
}

enum td_err ca_renewal_used(struct tx *tx, const uint8_t old[static SHA256_SIZE],
                            const uint8_t renewed[static SHA256_SIZE], int64_t now, const char *txn,
                            int64_t *ret_count, struct errinfo *ei)
{
    const struct ca_change why = {.reason = SUPERSEDED, .now = now, .actor = "device", .txn = txn};
    arena_auto a;
    arena_init(&a, 65536);
    struct ca_record r;
    TD_TRY(ca_record_by_hash(tx, old, &a, &r, ei));
    TD_TRY(ca_revoke_one(tx, old, &why, ret_count, ei));
    return end_all(tx, &stmts[STMT_OTHERS],
                   (const struct sval[]){SV_TEXT(r.device_serial), SV_BLOB(r.serial),
                                         SV_BLOB(span_of(renewed, SHA256_SIZE))},
                   3, &why, ret_count, ei);
}

enum td_err ca_renewal_end(struct tx *tx, const char *device_serial, const char *profile,
                           const struct ca_change *why, int64_t *ret_count, struct errinfo *ei)
{
    *ret_count = 0;
    return end_all(tx, &stmts[STMT_OF_PROFILE],
                   (const struct sval[]){SV_TEXT(device_serial), SV_TEXT(profile)}, 2, why,
                   ret_count, ei);
}
