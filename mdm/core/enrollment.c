#include "mdm/core/enrollment.h"

#include <stdio.h>

#include "mdm/store/audit.h"

static const char *const states[] = {
    [CORE_AUTHENTICATED] = "authenticated",
    [CORE_ENROLLED] = "enrolled",
    [CORE_LEAVING] = "leaving",
    [CORE_REMOVED] = "removed",
};

static void text_copy(const struct cur *cur, int col, char *out, size_t size)
{
    struct span s = cur_span(cur, col);
    size_t n = s.n < size ? s.n : size - 1;
    if (n)
        memcpy(out, s.p, n);
    out[n] = 0;
}

static enum td_err row_read(const struct cur *cur, struct core_row *row, struct errinfo *ei)
{
    *row = (struct core_row){0};
    text_copy(cur, 0, row->id, sizeof row->id);
    text_copy(cur, 1, row->serial, sizeof row->serial);
    struct span state = cur_span(cur, 2), cert = cur_span(cur, 3);
    size_t i = 0;
    while (i < TD_NITEMS(states) && !span_eq_str(state, states[i]))
        i++;
    if (i == TD_NITEMS(states) || cert.n != SHA256_SIZE)
        return err_set(ei, TD_INTERNAL, "enrolment %s has a damaged row", row->id);
    row->state = (enum core_state)i;
    memcpy(row->cert_sha256, cert.p, SHA256_SIZE);
    row->tally = cur_int(cur, 4);
    row->awaiting = cur_int(cur, 5) != 0;
    row->left_at = cur_is_null(cur, 6) ? 0 : cur_int(cur, 6);
    return TD_OK;
}

static enum td_err row_get(struct tx *tx, const struct store_stmt *st, struct sval key,
                           struct core_row *ret, struct errinfo *ei)
{
    struct cur cur;
    TD_TRY(tx_row(tx, st, &key, 1, &cur, ei));
    enum td_err e = row_read(&cur, ret, ei);
    cur_end(&cur);
    return e;
}

enum td_err core_row_by_id(struct tx *tx, const char *id, struct core_row *ret, struct errinfo *ei)
{
    return row_get(tx, CORE_SQL(ENR_BY_ID), SV_TEXT(id), ret, ei);
}

enum td_err core_row_newest(struct tx *tx, const char *serial, struct core_row *ret,
                            struct errinfo *ei)
{
    return row_get(tx, CORE_SQL(ENR_NEWEST), SV_TEXT(serial), ret, ei);
}

enum td_err core_cert_unknown(struct errinfo *ei)
{
    return err_reason(ei, TD_FORBIDDEN, "cert-unknown",
                      "the certificate was not issued by this server");
}

enum td_err core_identify(struct core *c, struct tx *tx, const struct core_ident *id,
                          struct core_who *ret, struct errinfo *ei)
{
    struct core_who who = {0};
    enum td_err e = c->conf.ops.cert_lookup(c->conf.ops.ctx, tx, id->cert_sha256, &who.cert, ei);
    if (e == TD_NOTFOUND)
        return core_cert_unknown(ei);
    TD_TRY(e);
    e = row_get(tx, CORE_SQL(ENR_BY_CERT), SV_BLOB(SPAN_ARR(id->cert_sha256)), &who.row, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    who.pinned = e == TD_OK;
    if (!who.pinned && who.cert.renews) {
        e = row_get(tx, CORE_SQL(ENR_BY_CERT), SV_BLOB(SPAN_ARR(who.cert.renews_sha256)), &who.row,
                    ei);
        if (e != TD_OK && e != TD_NOTFOUND)
            return e;
        who.renewing = e == TD_OK && strcmp(who.row.serial, who.cert.device_serial) == 0;
    }
    *ret = who;
    return TD_OK;
}

enum td_err core_take_over(struct core *c, struct tx *tx, struct core_who *who,
                           const struct core_ident *id, const char *udid, int64_t now,
                           const char *txn, struct errinfo *ei)
{
    const struct core_ops *ops = &c->conf.ops;
    bool living = who->row.state == CORE_ENROLLED || who->row.state == CORE_AUTHENTICATED;
    bool fits = who->renewing && living && !who->cert.revoked && udid && ops->cert_renewed &&
                strcmp(udid, who->row.id) == 0 && strcmp(who->cert.purpose, "management") == 0;
    if (!fits)
        return TD_OK;
    int64_t changes = 0;
    TD_TRY(tx_exec(tx, CORE_SQL(ENR_PIN),
                   SV_LIST(SV_TEXT(who->row.id), SV_BLOB(SPAN_ARR(id->cert_sha256)),
                           SV_BLOB(SPAN_ARR(who->row.cert_sha256))),
                   &changes, ei));
    if (changes != 1)
        return err_set(ei, TD_CONFLICT, "the enrolment changed meanwhile");
    TD_TRY(ops->cert_renewed(ops->ctx, tx, who->row.cert_sha256, id->cert_sha256, now, txn, ei));
    memcpy(who->row.cert_sha256, id->cert_sha256, SHA256_SIZE);
    who->renewing = false;
    who->pinned = true;
    return audit_add(tx, now, txn, "device", "enrollment.renewed", who->row.serial, "", ei);
}

enum td_err core_identity_held(struct tx *tx, const uint8_t sha256[static SHA256_SIZE], bool *ret,
                               struct errinfo *ei)
{
    struct core_row row;
    enum td_err e =
        row_get(tx, CORE_SQL(ENR_BY_CERT), SV_BLOB(span_of(sha256, SHA256_SIZE)), &row, ei);
    *ret = e == TD_OK && row.state == CORE_ENROLLED;
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err core_alive(const struct core_who *who, struct errinfo *ei)
{
    if (!who->pinned)
        return err_reason(ei, TD_FORBIDDEN, "cert-not-pinned",
                          "no enrolment holds this certificate: Authenticate comes first");
    if (who->row.state == CORE_LEAVING)
        return err_reason(ei, TD_FORBIDDEN, "leaving", "the device left the inventory");
    if (who->row.state == CORE_REMOVED)
        return err_reason(ei, TD_FORBIDDEN, "removed", "the enrolment is over");
    if (who->cert.revoked)
        return err_reason(ei, TD_FORBIDDEN, "cert-revoked", "the certificate is revoked");
    return TD_OK;
}

enum td_err core_same_device(const struct core_who *who, const char *udid, struct errinfo *ei)
{
    if (!udid || strcmp(udid, who->row.id) == 0)
        return TD_OK;
    return err_reason(ei, TD_FORBIDDEN, "udid-mismatch",
                      "the certificate is pinned to another UDID");
}

enum td_err core_row_removed(struct tx *tx, const struct core_row *row, int64_t now,
                             const char *txn, const char *why, struct errinfo *ei)
{
    TD_TRY(tx_exec(tx, CORE_SQL(ENR_REMOVED), SV_LIST(SV_TEXT(row->id), SV_INT(now)), NULL, ei));
    TD_TRY(tx_exec(tx, CORE_SQL(CMD_CANCEL), SV_LIST(SV_TEXT(row->id), SV_INT(now)), NULL, ei));
    TD_TRY(tx_exec(tx, CORE_SQL(PUSH_DROP), SV_LIST(SV_TEXT(row->id)), NULL, ei));
    return audit_add(tx, now, txn, "device", "enrollment.removed", row->serial, why, ei);
}

void core_removal_uuid(const struct core_row *row, char out[static UUID_SIZE])
{
    char text[CORE_ID_MAX + 64];
    uint8_t h[SHA256_SIZE];
    int n = snprintf(text, sizeof text, "removal %s %lld", row->id, (long long)row->left_at);
    digest_sha256(span_of(text, (size_t)n), h);
    h[6] = (uint8_t)((h[6] & 0x0f) | 0x80); /* version 8, variant 10: RFC 9562 section 5.8 */
    h[8] = (uint8_t)((h[8] & 0x3f) | 0x80);
    snprintf(out, UUID_SIZE, "%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X",
             h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10], h[11], h[12], h[13],
             h[14], h[15]);
}

enum td_err core_leave(struct tx *tx, const char *serial, int64_t now, struct errinfo *ei)
{
    TD_TRY(tx_exec(tx, CORE_SQL(ENR_LEAVE), SV_LIST(SV_TEXT(serial), SV_INT(now)), NULL, ei));
    TD_TRY(
        tx_exec(tx, CORE_SQL(CMD_CANCEL_SERIAL), SV_LIST(SV_TEXT(serial), SV_INT(now)), NULL, ei));
    return tx_exec(tx, CORE_SQL(PUSH_LEAVE), SV_LIST(SV_TEXT(serial), SV_INT(now)), NULL, ei);
}

static int64_t int_or_zero(const struct cur *cur, int col)
{
    return cur_is_null(cur, col) ? 0 : cur_int(cur, col);
}

static enum td_err view_read(const struct cur *cur, struct arena *a, struct core_enrollment *v,
                             struct errinfo *ei)
{
    const char **text[] = {&v->id,    &v->serial,  &v->state,      &v->device_name,
                           &v->model, &v->product, &v->os_version, &v->build};
    for (size_t i = 0; i < TD_NITEMS(text); i++) {
        *text[i] = cur_dup(cur, (int)i, a);
        if (!*text[i])
            return err_set(ei, TD_NOMEM, "no memory for an enrolment");
    }
    bool alive =
        strcmp(v->state, states[CORE_ENROLLED]) == 0 || strcmp(v->state, states[CORE_LEAVING]) == 0;
    v->pushable = alive && cur_int(cur, 8) != 0;
    v->authenticated_at = cur_int(cur, 9);
    v->enrolled_at = int_or_zero(cur, 10);
    v->left_at = int_or_zero(cur, 11);
    v->last_seen_at = cur_int(cur, 12);
    v->queued = cur_int(cur, 13);
    return TD_OK;
}

enum td_err core_enrollment_get(struct tx *tx, const char *serial, struct arena *a,
                                struct core_enrollment *ret, struct errinfo *ei)
{
    struct cur cur;
    struct core_enrollment v = {0};
    TD_TRY(tx_row(tx, CORE_SQL(VIEW_GET), SV_LIST(SV_TEXT(serial)), &cur, ei));
    enum td_err e = view_read(&cur, a, &v, ei);
    cur_end(&cur);
    if (e == TD_OK)
        *ret = v;
    return e;
}

enum td_err core_enrollment_list(struct tx *tx, const char *after_serial, size_t max,
                                 struct arena *a, struct core_enrollment **ret, size_t *ret_n,
                                 struct errinfo *ei)
{
    struct core_enrollment *rows = arena_alloc(a, (max ? max : 1) * sizeof *rows);
    if (!rows)
        return err_set(ei, TD_NOMEM, "no memory for a list of enrolments");
    struct cur cur;
    size_t n = 0;
    TD_TRY(
        tx_query(tx, CORE_SQL(VIEW_LIST), SV_LIST(SV_TEXT(after_serial), SV_INT(max)), &cur, ei));
    enum td_err e;
    while ((e = cur_next(&cur, ei)) == TD_OK && n < max) {
        e = view_read(&cur, a, &rows[n], ei);
        if (e != TD_OK)
            break;
        n++;
    }
    if (e != TD_NOTFOUND)
        cur_end(&cur);
    if (e != TD_NOTFOUND && e != TD_OK)
        return e;
    *ret = rows;
    *ret_n = n;
    return TD_OK;
}
