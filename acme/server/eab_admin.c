#include "acme/server/eab_admin.h"

#include "acme/server/stmts.h"
#include "mdm/store/audit.h"

enum td_err acme_eab_add(struct tx *tx, const struct acme_eab_key *k, struct span sealed,
                         const char *actor, struct errinfo *ei)
{
    TD_TRY(tx_exec(tx, ACME_SQL(EAB_ADD),
                   SV_LIST(SV_TEXT(k->id), SV_TEXT(k->name), SV_TEXT(k->profile), SV_BLOB(sealed),
                           SV_INT(k->created_at), SV_INT(k->expires_at), SV_INT(k->expires_at)),
                   NULL, ei));
    return audit_add(tx, k->created_at, k->id, actor, "eab.create", k->id, k->name, ei);
}

static bool read_row(const struct cur *row, struct arena *a, struct acme_eab_key *k)
{
    *k = (struct acme_eab_key){
        .id = cur_dup(row, 0, a),
        .name = cur_dup(row, 1, a),
        .profile = cur_dup(row, 2, a),
        .account_id = cur_dup(row, 3, a),
        .created_at = cur_int(row, 4),
        .expires_at = cur_int(row, 5),
        .bound_at = cur_is_null(row, 6) ? 0 : cur_int(row, 6),
        .revoked_at = cur_is_null(row, 7) ? 0 : cur_int(row, 7),
    };
    return k->id && k->name && k->profile && (k->account_id || cur_is_null(row, 3));
}

enum td_err acme_eab_list(struct tx *tx, const char *after, size_t max, struct arena *a,
                          struct acme_eab_key **ret, size_t *ret_n, struct errinfo *ei)
{
    struct acme_eab_key *list = arena_alloc(a, (max ? max : 1) * sizeof *list);
    struct cur row;
    size_t n = 0;
    enum td_err e;
    if (!list)
        return err_set(ei, TD_NOMEM, "keys for external account binding");
    TD_TRY(tx_query(tx, ACME_SQL(EAB_LIST), SV_LIST(SV_TEXT(after), SV_INT(max)), &row, ei));
    while ((e = cur_next(&row, ei)) == TD_OK && n < max)
        if (!read_row(&row, a, &list[n++])) {
            e = err_set(ei, TD_NOMEM, "keys for external account binding");
            break;
        }
    cur_end(&row);
    if (e != TD_NOTFOUND && e != TD_OK)
        return e;
    *ret = list;
    *ret_n = n;
    return TD_OK;
}

enum td_err acme_eab_revoke(struct tx *tx, const char *id, int64_t now, const char *actor,
                            struct errinfo *ei)
{
    int64_t n = 0;
    struct cur row;
    TD_TRY(tx_exec(tx, ACME_SQL(EAB_REVOKE), SV_LIST(SV_TEXT(id), SV_INT(now)), &n, ei));
    if (n == 1) {
        TD_TRY(tx_exec(tx, ACME_SQL(EAB_DEACTIVATE), SV_LIST(SV_TEXT(id), SV_INT(now)), NULL, ei));
        return audit_add(tx, now, id, actor, "eab.revoke", id, "", ei);
    }
    TD_TRY(tx_row(tx, ACME_SQL(EAB_GET), SV_LIST(SV_TEXT(id)), &row, ei));
    cur_end(&row);
    return TD_OK;
}
