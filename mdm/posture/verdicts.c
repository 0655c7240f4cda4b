#include "mdm/posture/posture_int.h"

enum td_err posture_verdicts_load(struct tx *tx, const struct posture_subject *s,
                                  struct posture_verdicts *ret, struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    ret->n = 0;
    TD_TRY(tx_query(tx, POSTURE_SQL(VERDICTS), SV_LIST(SV_TEXT(s->cause.serial)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && ret->n < POSTURE_RULES_MAX) {
        struct posture_stored *v = &ret->list[ret->n++];
        int64_t verdict = cur_int(&c, 2);
        *v = (struct posture_stored){
            .rule = cur_dup(&c, 0, s->a),
            .fact = cur_dup(&c, 1, s->a),
            .t = {(enum posture_verdict)verdict, cur_int(&c, 3), cur_int(&c, 4), cur_int(&c, 5)}};
        if (!v->rule || !v->fact) {
            e = err_set(ei, TD_NOMEM, "no memory for verdicts");
            break;
        }
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

struct posture_stored *posture_verdicts_find(struct posture_verdicts *all, const char *rule)
{
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->list[i].rule, rule) == 0)
            return &all->list[i];
    return NULL;
}

static bool same_track(const struct posture_track *a, const struct posture_track *b)
{
    return a->verdict == b->verdict && a->since == b->since && a->at == b->at &&
           a->readings == b->readings;
}

enum td_err posture_verdicts_write(struct tx *tx, const char *serial, const struct posture_rule *r,
                                   const struct posture_stored *was, const struct posture_track *t,
                                   struct errinfo *ei)
{
    if (t->verdict == POSTURE_PASS)
        return was ? tx_exec(tx, POSTURE_SQL(VERDICT_DROP),
                             SV_LIST(SV_TEXT(serial), SV_TEXT(r->name)), NULL, ei)
                   : TD_OK;
    if (was && strcmp(was->fact, r->fact) == 0 && same_track(&was->t, t))
        return TD_OK;
    return tx_exec(tx, POSTURE_SQL(VERDICT_PUT),
                   SV_LIST(SV_TEXT(serial), SV_TEXT(r->name), SV_TEXT(r->fact), SV_INT(t->verdict),
                           SV_INT(t->since), SV_INT(t->at), SV_INT(t->readings)),
                   NULL, ei);
}

/* Where it stands with a rule; the track of another fact under that name does not count. */
void posture_subject_track(const struct posture *p, const struct posture_subject *s,
                           const struct posture_rule *r, const struct posture_stored *was,
                           struct posture_result *res, struct posture_track *ret)
{
    static const struct posture_track passing = {.verdict = POSTURE_PASS};
    bool same = was && strcmp(was->fact, r->fact) == 0;
    posture_judge(r, s->known.obs, s->known.n, s->cause.now, res);
    posture_track_next(r, res, p->conf.confirm_after, s->cause.now, same ? &was->t : &passing, ret);
}

bool posture_subject_concerns(const struct posture_subject *s, const struct posture_rule *r)
{
    return r->enabled && posture_rule_applies(r, span_str(s->platform), span_str(s->groups));
}
