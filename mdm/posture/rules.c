#include <stdlib.h>

#include "mdm/base/log.h"
#include "mdm/posture/posture_int.h"
#include "mdm/store/audit.h"

#define BODY_MAX 8192

/* A body as it is stored. */
static enum td_err parse(struct span name, struct span body, struct posture_rule *ret,
                         struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, POSTURE_ARENA);
    struct json *root;
    TD_TRY(json_parse(body, &a, &root, ei));
    return posture_rule_parse(name, root, ret, ei);
}

static enum td_err read_rule(const struct cur *c, struct posture_rule *ret, struct errinfo *ei)
{
    TD_TRY(parse(cur_span(c, 0), cur_span(c, 1), ret, ei));
    ret->rev = cur_int(c, 2);
    ret->updated_at = cur_int(c, 3);
    return TD_OK;
}

/* A rule that cannot be read, as one of a newer version, judges nobody: it is logged, each time the
 * rules are read. */
static enum td_err read_all(struct tx *tx, struct posture_rule *list, size_t *ret_n,
                            struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    *ret_n = 0;
    TD_TRY(tx_query(tx, POSTURE_SQL(RULES), NULL, 0, &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && *ret_n < POSTURE_RULES_MAX) {
        struct errinfo why = {0};
        enum td_err bad = read_rule(&c, &list[*ret_n], &why);
        if (bad == TD_NOMEM) {
            e = err_set(ei, bad, "no memory for rules");
            break;
        }
        if (bad == TD_OK)
            ++*ret_n;
        else
            log_ev(LOG_WARN, "posture.rule_unreadable", KV_SPAN("rule", cur_span(&c, 0)),
                   KV("error", err_msg(&why, bad)));
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err posture_rules_get(struct tx *tx, struct arena *a, struct posture_rule **ret,
                              size_t *ret_n, struct errinfo *ei)
{
    *ret = arena_alloc(a, POSTURE_RULES_MAX * sizeof **ret);
    return *ret ? read_all(tx, *ret, ret_n, ei) : err_set(ei, TD_NOMEM, "no memory for rules");
}

enum td_err posture_rule_get(struct tx *tx, const char *name, struct posture_rule *ret,
                             struct errinfo *ei)
{
    struct cur c;
    enum td_err e = tx_row(tx, POSTURE_SQL(RULE_GET), SV_LIST(SV_TEXT(name)), &c, ei);
    if (e == TD_NOTFOUND)
        return err_set(ei, e, "no such rule");
    TD_TRY(e);
    e = parse(span_str(name), cur_span(&c, 0), ret, ei);
    ret->rev = cur_int(&c, 1);
    ret->updated_at = cur_int(&c, 2);
    cur_end(&c);
    return e;
}

/* --- the ones to judge by -------------------------------------------------------------------- */

void posture_rules_drop(struct posture *p, struct posture_rules *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&p->lock);
    bool last = --r->refs == 0;
    pthread_mutex_unlock(&p->lock);
    if (last)
        free(r);
}

static struct posture_rules *cached(struct posture *p, const char *stamp)
{
    struct posture_rules *r = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->rules && strcmp(p->rules->stamp, stamp) == 0) {
        r = p->rules;
        r->refs++;
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

static void keep(struct posture *p, struct posture_rules *r)
{
    pthread_mutex_lock(&p->lock);
    struct posture_rules *old = p->rules;
    p->rules = r;
    r->refs++;
    pthread_mutex_unlock(&p->lock);
    posture_rules_drop(p, old);
}

enum td_err posture_rules_take(struct posture *p, struct tx *tx, struct posture_rules **ret,
                               struct errinfo *ei)
{
    struct cur c;
    char stamp[RNG_ID_SIZE] = "";
    TD_TRY(tx_row(tx, POSTURE_SQL(STATE), NULL, 0, &c, ei));
    int64_t rev = cur_int(&c, 0);
    struct span s = cur_span(&c, 1);
    if (s.n && s.n < sizeof stamp)
        memcpy(stamp, s.p, s.n);
    cur_end(&c);
    *ret = cached(p, stamp);
    if (*ret)
        return TD_OK;
    struct posture_rules *r = malloc(sizeof *r + POSTURE_RULES_MAX * sizeof r->list[0]);
    if (!r)
        return err_set(ei, TD_NOMEM, "no memory for rules");
    r->refs = 1;
    r->rev = rev;
    memcpy(r->stamp, stamp, sizeof stamp);
    enum td_err e = read_all(tx, r->list, &r->n, ei);
    if (e != TD_OK) {
        free(r);
        return e;
    }
    keep(p, r);
    *ret = r;
    return TD_OK;
}

/* --- changes --------------------------------------------------------------------------------- */

static enum td_err mismatch(struct errinfo *ei)
{
    enum td_err e =
        err_reason(ei, TD_CONFLICT, "rev-mismatch", "the rule is not what the caller saw");
    if (ei)
        ei->http = 412;
    return e;
}

/* Every device is to be judged anew; the stamp is the change's own. */
static enum td_err changed(struct tx *tx, const char *name, const struct posture_change *c,
                           const char *action, const char *detail, struct errinfo *ei)
{
    TD_TRY(tx_exec(tx, POSTURE_SQL(STATE_NEXT), SV_LIST(SV_TEXT(c->txn)), NULL, ei));
    return audit_add(tx, c->now, c->txn, c->actor, action, name, detail, ei);
}

static enum td_err room_for_one(struct tx *tx, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, POSTURE_SQL(RULES_N), NULL, 0, &c, ei));
    int64_t n = cur_int(&c, 0);
    cur_end(&c);
    return n < POSTURE_RULES_MAX ? TD_OK
                                 : err_reason(ei, TD_LIMIT, "too-many-rules",
                                              "there are %d rules already", POSTURE_RULES_MAX);
}

static enum td_err rev_of(struct tx *tx, const char *name, int64_t *ret, struct errinfo *ei)
{
    struct cur c;
    *ret = 0;
    enum td_err e = tx_row(tx, POSTURE_SQL(RULE_GET), SV_LIST(SV_TEXT(name)), &c, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    *ret = cur_int(&c, 1);
    cur_end(&c);
    return TD_OK;
}

enum td_err posture_rule_put(struct tx *tx, struct posture_rule *r, const struct posture_change *c,
                             bool *ret_created, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, BODY_MAX);
    struct json_w w;
    int64_t rev, n = 0;
    json_w_init(&w, &b);
    json_open(&w);
    posture_rule_members(&w, r);
    json_close(&w);
    if (b.err != TD_OK)
        return err_set(ei, b.err, "no memory for a rule");
    TD_TRY(rev_of(tx, r->name, &rev, ei));
    *ret_created = rev == 0;
    if ((c->if_match >= 0 && c->if_match != rev) || (c->if_match == INV_IF_LISTED && rev == 0))
        return mismatch(ei);
    const struct sval args[] = {SV_TEXT(r->name), SV_SPAN(buf_view(&b)), SV_INT(c->now),
                                SV_INT(rev)};
    if (rev == 0) {
        TD_TRY(room_for_one(tx, ei));
        TD_TRY(tx_exec(tx, POSTURE_SQL(RULE_INSERT), args, 3, &n, ei));
    } else {
        TD_TRY(tx_exec(tx, POSTURE_SQL(RULE_UPDATE), args, 4, &n, ei));
    }
    if (n != 1)
        return mismatch(ei);
    r->rev = rev + 1;
    r->updated_at = c->now;
    char detail[POSTURE_NAME_MAX + 64];
    snprintf(detail, sizeof detail, "fact=%s enforce=%d enabled=%d", r->fact, r->enforce,
             r->enabled);
    return changed(tx, r->name, c, "posture.rule", detail, ei);
}

enum td_err posture_rule_delete(struct tx *tx, const char *name, const struct posture_change *c,
                                struct errinfo *ei)
{
    int64_t rev, n = 0;
    TD_TRY(rev_of(tx, name, &rev, ei));
    if (rev == 0)
        return err_set(ei, TD_NOTFOUND, "no such rule");
    if (c->if_match >= 0 && c->if_match != rev)
        return mismatch(ei);
    TD_TRY(tx_exec(tx, POSTURE_SQL(RULE_DELETE), SV_LIST(SV_TEXT(name), SV_INT(rev)), &n, ei));
    if (n != 1)
        return mismatch(ei);
    return changed(tx, name, c, "posture.rule.delete", "", ei);
}
