/* Posture as administrators see it. */
#include "mdm/posture/posture_int.h"

/* The rule outlives the transaction in the arena. */
static enum td_err add_line(struct posture_view *v, struct posture_line *lines,
                            const struct posture_rule *r, const struct posture_result *res,
                            const struct posture_track *t, struct arena *a, struct errinfo *ei)
{
    struct posture_rule *copy = arena_alloc(a, sizeof *copy);
    if (!copy)
        return err_set(ei, TD_NOMEM, "no memory for rules");
    *copy = *r;
    lines[v->nlines++] = (struct posture_line){copy, *t, res->obs};
    return TD_OK;
}

static enum td_err view_lines(struct posture *p, struct tx *tx, struct posture_subject *s,
                              const struct posture_rules *rules, struct posture_view *v,
                              struct errinfo *ei)
{
    struct posture_verdicts *all = arena_alloc(s->a, sizeof *all);
    struct posture_line *lines = arena_alloc(s->a, POSTURE_RULES_MAX * sizeof *lines);
    if (!all || !lines)
        return err_set(ei, TD_NOMEM, "no memory for verdicts");
    v->lines = lines;
    TD_TRY(posture_verdicts_load(tx, s, all, ei));
    for (size_t i = 0; i < rules->n; i++) {
        const struct posture_rule *r = &rules->list[i];
        struct posture_result res;
        struct posture_track t;
        if (!posture_subject_concerns(s, r))
            continue;
        posture_subject_track(p, s, r, posture_verdicts_find(all, r->name), &res, &t);
        TD_TRY(add_line(v, lines, r, &res, &t, s->a, ei));
    }
    return TD_OK;
}

enum td_err posture_view_get(struct posture *p, struct tx *tx, const char *serial, struct arena *a,
                             struct posture_view *ret, struct errinfo *ei)
{
    const struct posture_cause c = {serial, clock_now(p->conf.clock), NULL};
    struct posture_subject *s = arena_alloc(a, sizeof *s);
    struct posture_rules *rules;
    *ret = (struct posture_view){0};
    if (!s)
        return err_set(ei, TD_NOMEM, "no memory for a device");
    TD_TRY(posture_subject_load(tx, &c, a, s, ei));
    ret->device = s->row;
    ret->facts = s->known.obs;
    ret->nfacts = s->known.n;
    TD_TRY(posture_rules_take(p, tx, &rules, ei));
    enum td_err e = view_lines(p, tx, s, rules, ret, ei);
    posture_rules_drop(p, rules);
    return e;
}

enum td_err posture_list(struct tx *tx, int state, const char *after, size_t max, struct arena *a,
                         struct posture_device **ret, size_t *ret_n, struct errinfo *ei)
{
    const struct sval args[] = {SV_TEXT(after), SV_INT(max), SV_INT(state)};
    struct posture_device *list = arena_alloc(a, (max ? max : 1) * sizeof *list);
    struct cur c;
    enum td_err e;
    size_t n = 0;
    if (!list)
        return err_set(ei, TD_NOMEM, "no memory for a list");
    if (state < 0)
        TD_TRY(tx_query(tx, POSTURE_SQL(LIST), args, 2, &c, ei));
    else
        TD_TRY(tx_query(tx, POSTURE_SQL(LIST_STATE), args, 3, &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && n < max) {
        list[n] = posture_device_read(&c, 1);
        list[n].serial = cur_dup(&c, 0, a);
        if (!list[n++].serial) {
            e = err_set(ei, TD_NOMEM, "no memory for a list");
            break;
        }
    }
    cur_end(&c);
    *ret = list;
    *ret_n = n;
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err posture_serials(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                            size_t nargs, size_t max, struct arena *a, const char ***ret,
                            size_t *ret_n, struct errinfo *ei)
{
    const char **list = arena_alloc(a, (max ? max : 1) * sizeof *list);
    struct cur c;
    enum td_err e;
    *ret_n = 0;
    if (!list)
        return err_set(ei, TD_NOMEM, "no memory for a list");
    *ret = list;
    TD_TRY(tx_query(tx, st, args, nargs, &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && *ret_n < max) {
        list[*ret_n] = cur_dup(&c, 0, a);
        if (!list[(*ret_n)++]) {
            e = err_set(ei, TD_NOMEM, "no memory for a list");
            break;
        }
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err posture_failing(struct tx *tx, const struct posture_rule *rule, const char *after,
                            size_t max, struct arena *a, const char ***ret, size_t *ret_n,
                            struct errinfo *ei)
{
    const struct sval args[] = {SV_TEXT(rule->name), SV_TEXT(after), SV_INT(max),
                                SV_INT(rule->unknown_fails ? POSTURE_UNKNOWN : POSTURE_FAIL)};
    return posture_serials(tx, POSTURE_SQL(FAILING), args, TD_NITEMS(args), max, a, ret, ret_n, ei);
}
