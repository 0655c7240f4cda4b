#include "mdm/store/attempts.h"

#include "mdm/base/utf8.h"

#define DEVICE_ERROR_MAX 1000
#define DETAIL_MAX 2000

#define COLUMNS "id, at, serial, source, outcome, reason, detail, device_error, order_id, peer"

enum { ATTEMPT_ADD, ATTEMPT_LIST, ATTEMPT_LIST_OF, ATTEMPT_PAGE, ATTEMPT_CLEAN, ATTEMPT_MAX };

static const struct store_stmt stmts[ATTEMPT_MAX] = {
    [ATTEMPT_ADD] = {"attempt.add",
                     "INSERT INTO attempts (at, serial, source, outcome, reason, detail,"
                     " device_error, order_id, peer)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                     "itttttttt", ""},
    [ATTEMPT_LIST] = {"attempt.list",
                      "SELECT " COLUMNS " FROM attempts WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
                      "ii", "iitttttttt"},
    [ATTEMPT_LIST_OF] = {"attempt.list_of",
                         "SELECT " COLUMNS " FROM attempts WHERE serial = ?1 AND id < ?2"
                         " ORDER BY id DESC LIMIT ?3",
                         "tii", "iitttttttt"},
    [ATTEMPT_PAGE] = {"attempt.page", SWEEP_PAGE("attempts", "at", "id"), SWEEP_PAGE_IN("i"),
                      SWEEP_PAGE_OUT("i")},
    [ATTEMPT_CLEAN] = {"attempt.clean", SWEEP_DROP("attempts", "at", "id"), SWEEP_DROP_IN("i"), ""},
};

const struct store_stmts attempt_stmts = {stmts, ATTEMPT_MAX};

/* What a stranger sent becomes text that a row can hold: cut between characters, and '?' for each
 * byte that is not UTF-8. The refusal must be recorded whatever the device wrote. */
static const char *clean(const char *s, size_t max, char *out)
{
    struct span in = span_str(s);
    size_t n = 0;
    for (size_t i = 0; i < in.n;) {
        uint32_t cp;
        size_t len = utf8_next(in, i, &cp);
        if (n + (len ? len : 1) > max)
            break;
        if (len)
            memcpy(out + n, in.p + i, len);
        else
            out[n] = '?';
        n += len ? len : 1;
        i += len ? len : 1;
    }
    out[n] = '\0';
    return out;
}

enum td_err attempt_add(struct tx *tx, const struct attempt *t, struct errinfo *ei)
{
    char detail[DETAIL_MAX + 1], words[DEVICE_ERROR_MAX + 1];
    return tx_exec(tx, &stmts[ATTEMPT_ADD],
                   SV_LIST(SV_INT(t->at), SV_TEXT(t->serial), SV_TEXT(t->source),
                           SV_TEXT(t->outcome), SV_TEXT(t->reason),
                           SV_TEXT(clean(t->detail, DETAIL_MAX, detail)),
                           SV_TEXT(clean(t->device_error, DEVICE_ERROR_MAX, words)),
                           SV_TEXT(t->order_id), SV_TEXT(t->peer)),
                   NULL, ei);
}

static enum td_err fill(const struct cur *c, struct arena *a, struct attempt *t)
{
    *t = (struct attempt){.id = cur_int(c, 0), .at = cur_int(c, 1)};
    const char **texts[] = {&t->serial, &t->source,       &t->outcome,  &t->reason,
                            &t->detail, &t->device_error, &t->order_id, &t->peer};
    for (size_t i = 0; i < TD_NITEMS(texts); i++) {
        *texts[i] = cur_dup(c, (int)i + 2, a);
        if (!*texts[i])
            return TD_NOMEM;
    }
    return TD_OK;
}

enum td_err attempt_list(struct tx *tx, const char *serial, int64_t before, size_t max,
                         struct arena *a, struct attempt **ret, size_t *ret_n, struct errinfo *ei)
{
    struct attempt *list = arena_alloc(a, (max ? max : 1) * sizeof *list);
    if (!list)
        return TD_NOMEM;
    struct cur c;
    if (serial)
        TD_TRY(tx_query(tx, &stmts[ATTEMPT_LIST_OF],
                        SV_LIST(SV_TEXT(serial), SV_INT(before), SV_INT(max)), &c, ei));
    else
        TD_TRY(tx_query(tx, &stmts[ATTEMPT_LIST], SV_LIST(SV_INT(before), SV_INT(max)), &c, ei));
    enum td_err e;
    size_t n = 0;
    while ((e = cur_next(&c, ei)) == TD_OK && n < max) {
        e = fill(&c, a, &list[n++]);
        if (e != TD_OK)
            break;
    }
    cur_end(&c);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    *ret = list;
    *ret_n = n;
    return TD_OK;
}

enum td_err attempt_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, &stmts[ATTEMPT_PAGE], &stmts[ATTEMPT_CLEAN], s, ei);
}
