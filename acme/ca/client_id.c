#include "acme/ca/client_id.h"

#include "mdm/crypt/digest.h"

enum {
    STMT_ADD,
    STMT_GET,
    STMT_CLAIM,
    STMT_OPEN,
    STMT_RENEWS,
    STMT_CONSUME,
    STMT_CANCEL,
    STMT_PAGE,
    STMT_CLEAN,
    STMT_MAX
};

static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_ADD] = {"client_id.add",
                  "INSERT INTO client_ids (hash, serial, profile, created_at, expires_at, renews) "
                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                  "bttiiB", ""},
    [STMT_GET] = {"client_id.get",
                  "SELECT serial, profile, expires_at, order_id FROM client_ids WHERE hash = ?1",
                  "b", "ttiT"},
    [STMT_CLAIM] = {"client_id.claim",
                    "UPDATE client_ids SET order_id = ?2 "
                    "WHERE hash = ?1 AND order_id IS NULL AND consumed_at IS NULL "
                    "AND expires_at > ?3",
                    "bti", ""},
    [STMT_OPEN] = {"client_id.open",
                   "SELECT serial FROM client_ids WHERE order_id = ?1 AND consumed_at IS NULL", "t",
                   "t"},
    [STMT_RENEWS] = {"client_id.renews", "SELECT renews FROM client_ids WHERE order_id = ?1", "t",
                     "B"},
    [STMT_CONSUME] = {"client_id.consume",
                      "UPDATE client_ids SET consumed_at = ?2 "
                      "WHERE order_id = ?1 AND consumed_at IS NULL",
                      "ti", ""},
    /* a claimed one is consumed too: its order must not outlive the departure */
    [STMT_CANCEL] = {"client_id.cancel",
                     "UPDATE client_ids SET consumed_at = ?2, expires_at = "
                     "CASE WHEN expires_at > ?2 THEN ?2 ELSE expires_at END "
                     "WHERE serial = ?1 AND consumed_at IS NULL",
                     "ti", ""},
    [STMT_PAGE] = {"client_id.page", SWEEP_PAGE("client_ids", "expires_at", "hash"),
                   SWEEP_PAGE_IN("b"), SWEEP_PAGE_OUT("b")},
    [STMT_CLEAN] = {"client_id.clean", SWEEP_DROP("client_ids", "expires_at", "hash"),
                    SWEEP_DROP_IN("b"), ""},
};

const struct store_stmts client_id_stmts = {stmts, STMT_MAX};

static struct span hash_of(const char *id, uint8_t out[static SHA256_SIZE])
{
    digest_sha256(span_str(id), out);
    return span_of(out, SHA256_SIZE);
}

enum td_err client_id_add(struct tx *tx, const char *id, const char *serial, const char *profile,
                          int64_t now, int64_t expires, struct errinfo *ei)
{
    return client_id_add_renewal(tx, id, serial, profile, (struct span){NULL, 0}, now, expires, ei);
}

enum td_err client_id_add_renewal(struct tx *tx, const char *id, const char *serial,
                                  const char *profile, struct span renews, int64_t now,
                                  int64_t expires, struct errinfo *ei)
{
    uint8_t h[SHA256_SIZE];
    return tx_exec(tx, &stmts[STMT_ADD],
                   SV_LIST(SV_BLOB(hash_of(id, h)), SV_TEXT(serial), SV_TEXT(profile), SV_INT(now),
                           SV_INT(expires), SV_BLOB0(renews)),
                   NULL, ei);
}

static enum td_err refuse(struct errinfo *ei, const char *reason, const char *text)
{
    err_reason(ei, TD_FORBIDDEN, reason, "%s", text);
    if (ei)
        ei->acme = "rejectedIdentifier";
    return TD_FORBIDDEN;
}

static enum td_err refuse_unknown(struct errinfo *ei)
{
    return refuse(ei, "client-id-unknown", "the ClientIdentifier is not one of ours");
}

enum td_err client_id_claim(struct tx *tx, const char *id, const char *profile,
                            const char *order_id, int64_t now, struct arena *a,
                            struct client_id *ret, struct errinfo *ei)
{
    uint8_t h[SHA256_SIZE];
    struct span hash = hash_of(id, h);
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[STMT_GET], SV_LIST(SV_BLOB(hash)), &c, ei);
    if (e == TD_NOTFOUND)
        return refuse_unknown(ei);
    TD_TRY(e);
    struct client_id found = {cur_dup(&c, 0, a), cur_dup(&c, 1, a)};
    bool expired = cur_int(&c, 2) <= now, used = !cur_is_null(&c, 3);
    cur_end(&c);
    if (!found.serial || !found.profile)
        return err_set(ei, TD_NOMEM, "no memory");
    if (strcmp(found.profile, profile) != 0) /* another profile's is none of this one's */
        return refuse_unknown(ei);
    *ret = found;
    if (used)
        return refuse(ei, "client-id-used", "the ClientIdentifier was used already");
    if (expired)
        return refuse(ei, "client-id-expired", "the ClientIdentifier has expired");
    int64_t n = 0;
    TD_TRY(tx_exec(tx, &stmts[STMT_CLAIM], SV_LIST(SV_BLOB(hash), SV_TEXT(order_id), SV_INT(now)),
                   &n, ei));
    /* another node took it between the two statements */
    return n == 1 ? TD_OK : refuse(ei, "client-id-used", "the ClientIdentifier was used already");
}

enum td_err client_id_check(struct tx *tx, const char *order_id, struct errinfo *ei)
{
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[STMT_OPEN], SV_LIST(SV_TEXT(order_id)), &c, ei);
    if (e == TD_NOTFOUND)
        return refuse(ei, "client-id-ended", "the device left since the order was made");
    TD_TRY(e);
    cur_end(&c);
    return TD_OK;
}

enum td_err client_id_renews(struct tx *tx, const char *order_id, struct arena *a, struct span *ret,
                             struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &stmts[STMT_RENEWS], SV_LIST(SV_TEXT(order_id)), &c, ei));
    bool none = cur_is_null(&c, 0);
    *ret = cur_span_dup(&c, 0, a);
    cur_end(&c);
    return none || ret->p ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

enum td_err client_id_consume(struct tx *tx, const char *order_id, int64_t now, struct errinfo *ei)
{
    int64_t n = 0;
    TD_TRY(tx_exec(tx, &stmts[STMT_CONSUME], SV_LIST(SV_TEXT(order_id), SV_INT(now)), &n, ei));
    if (n == 1)
        return TD_OK;
    (void)refuse(ei, "client-id-used", "the order's ClientIdentifier was consumed or ended");
    return TD_REPLAY;
}

enum td_err client_id_cancel(struct tx *tx, const char *serial, int64_t now, struct errinfo *ei)
{
    return tx_exec(tx, &stmts[STMT_CANCEL], SV_LIST(SV_TEXT(serial), SV_INT(now)), NULL, ei);
}

enum td_err client_id_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, &stmts[STMT_PAGE], &stmts[STMT_CLEAN], s, ei);
}
