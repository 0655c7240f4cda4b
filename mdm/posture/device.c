#include <stdio.h>

#include "mdm/posture/posture_int.h"
#include "mdm/store/audit.h"

#define NAMES_MAX 400 /* bytes of the rules' names that are told */

/* --- the device ------------------------------------------------------------------------------ */

struct posture_device posture_device_read(const struct cur *c, int col)
{
    int64_t state = cur_int(c, col);
    return (struct posture_device){.state = (enum posture_state)state,
                                   .since = cur_int(c, col + 1),
                                   .hold_at = cur_int(c, col + 2),
                                   .revoke_at = cur_int(c, col + 3),
                                   .exempt_until = cur_int(c, col + 4),
                                   .asked_at = cur_int(c, col + 5),
                                   .judged_at = cur_int(c, col + 6)};
}

static enum td_err load_row(struct tx *tx, struct posture_subject *s, struct errinfo *ei)
{
    struct cur c;
    s->row = (struct posture_device){.since = s->cause.now};
    s->due_at = POSTURE_NEVER;
    enum td_err e = tx_row(tx, POSTURE_SQL(DEV_GET), SV_LIST(SV_TEXT(s->cause.serial)), &c, ei);
    if (e == TD_OK) {
        s->row = posture_device_read(&c, 0);
        s->due_at = cur_int(&c, 7);
        s->rules_rev = cur_int(&c, 8);
        s->there = true;
        s->restore = cur_int(&c, 9) != 0;
        cur_end(&c);
    }
    s->row.serial = s->cause.serial;
    return e == TD_NOTFOUND ? TD_OK : e;
}

/* What this server knows itself. */
static void observe(struct posture_subject *s, const struct core_enrollment *v)
{
    bool enrolled = v && strcmp(v->state, "enrolled") == 0;
    if (s->known.n + 2 > POSTURE_KNOWN_MAX)
        return;
    s->known.obs[s->known.n++] = (struct posture_obs){.name = POSTURE_FACT_ENROLLED,
                                                      .source = POSTURE_OBSERVED,
                                                      .value = enrolled ? "true" : "false",
                                                      .at = s->cause.now};
    if (v)
        s->known.obs[s->known.n++] = (struct posture_obs){.name = POSTURE_FACT_SEEN,
                                                          .source = POSTURE_OBSERVED,
                                                          .value = "true",
                                                          .at = v->last_seen_at};
    s->enrollment = enrolled ? v->id : NULL;
}

enum td_err posture_subject_load(struct tx *tx, const struct posture_cause *c, struct arena *a,
                                 struct posture_subject *ret, struct errinfo *ei)
{
    struct inv_device d;
    struct core_enrollment v = {0};
    *ret = (struct posture_subject){.a = a, .cause = *c};
    TD_TRY(inv_get(tx, c->serial, a, &d, ei));
    enum td_err e = core_enrollment_get(tx, c->serial, a, &v, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    ret->groups = d.groups;
    ret->platform = inv_platform(e == TD_OK ? v.product : "", d.model);
    TD_TRY(posture_known_load(tx, c->serial, a, &ret->known, ei));
    observe(ret, e == TD_OK ? &v : NULL);
    return load_row(tx, ret, ei);
}

/* --- the judgement --------------------------------------------------------------------------- */

struct judgement {
    struct posture *p;
    struct tx *tx;
    struct posture_subject *s;
    struct posture_plan plan;
    bool asks;                 /* some rule needs what the device reports */
    bool proofs;               /* some rule needs what it has attested */
    char names[NAMES_MAX + 1]; /* of the rules that are enforced and not satisfied */
};

static void add_name(struct judgement *j, const char *name)
{
    size_t n = strlen(j->names);
    snprintf(j->names + n, sizeof j->names - n, "%s%s", n ? " " : "", name);
}

static enum td_err judge_rules(struct judgement *j, const struct posture_rules *rules,
                               struct errinfo *ei)
{
    struct posture_subject *s = j->s;
    struct posture_verdicts *all = arena_alloc(s->a, sizeof *all);
    if (!all)
        return err_set(ei, TD_NOMEM, "no memory for verdicts");
    TD_TRY(posture_verdicts_load(j->tx, s, all, ei));
    for (size_t i = 0; i < rules->n; i++) {
        const struct posture_rule *r = &rules->list[i];
        struct posture_result res;
        struct posture_track t;
        if (!posture_subject_concerns(s, r))
            continue;
        struct posture_stored *was = posture_verdicts_find(all, r->name);
        if (was)
            was->seen = true;
        posture_subject_track(j->p, s, r, was, &res, &t);
        TD_TRY(posture_verdicts_write(j->tx, s->cause.serial, r, was, &t, ei));
        size_t failing = j->plan.failing;
        posture_plan_add(&j->plan, r, &res, &t, j->p->conf.confirm_after);
        if (j->plan.failing > failing)
            add_name(j, r->name);
        const struct posture_fact *f = posture_fact_find(span_str(r->fact));
        j->proofs |= r->attested;
        j->asks |= r->attested || (f && (f->query || f->security));
    }
    for (size_t i = 0; i < all->n; i++)
        if (!all->list[i].seen)
            TD_TRY(tx_exec(j->tx, POSTURE_SQL(VERDICT_DROP),
                           SV_LIST(SV_TEXT(s->cause.serial), SV_TEXT(all->list[i].rule)), NULL,
                           ei));
    return TD_OK;
}

static bool closed(enum posture_state st)
{
    return st == POSTURE_HELD || st == POSTURE_REVOKED;
}

static enum td_err tell(struct judgement *j, enum posture_state was, struct errinfo *ei)
{
    const struct posture_cause *c = &j->s->cause;
    const char *now = posture_state_name(j->s->row.state);
    char detail[NAMES_MAX + 64];
    snprintf(detail, sizeof detail, "was=%s now=%s rules=%s", posture_state_name(was), now,
             j->names);
    TD_TRY(audit_add(j->tx, c->now, c->txn, "posture", "posture.change", c->serial, detail, ei));
    const struct outbox_event ev = {
        .type = OUTBOX_POSTURE_CHANGED,
        .at = c->now,
        .txn = c->txn,
        .actor = "posture",
        .device = c->serial,
        .data = {{"state", now}, {"was", posture_state_name(was)}, {"rules", j->names}}};
    return outbox_add(j->tx, &ev, ei);
}

/* Access follows the state. */
static enum td_err act(struct judgement *j, enum posture_state was, struct errinfo *ei)
{
    const struct posture_ops *ops = &j->p->conf.ops;
    struct posture_subject *s = j->s;
    enum posture_state now = s->row.state;
    if (now == was)
        return TD_OK;
    s->row.since = s->cause.now;
    if (closed(now) && !closed(was))
        TD_TRY(ops->hold(ops->ctx, j->tx, &s->cause, true, ei));
    if (now == POSTURE_REVOKED)
        TD_TRY(ops->revoke(ops->ctx, j->tx, &s->cause, ei));
    if (!closed(now) && closed(was))
        TD_TRY(ops->hold(ops->ctx, j->tx, &s->cause, false, ei));
    if (was == POSTURE_REVOKED)
        s->restore = true;
    return tell(j, was, ei);
}

static enum posture_state state_of(const struct judgement *j)
{
    const struct posture_subject *s = j->s;
    if (s->cause.now < s->row.exempt_until)
        return j->plan.failing ? POSTURE_FAILING : POSTURE_PASSING;
    return posture_plan_state(&j->plan, s->row.state, s->cause.now);
}

/* --- questions ------------------------------------------------------------------------------- */

static enum td_err ask_one(struct judgement *j, const char *type, struct plist *command,
                           struct errinfo *ei)
{
    struct core_prepared cmd;
    bool open;
    TD_TRY(core_command_open(j->tx, j->s->enrollment, type, &open, ei));
    if (open) /* the answer will be heard, whoever asked */
        return TD_OK;
    if (!command)
        return err_set(ei, TD_NOMEM, "no memory for a question");
    TD_TRY(core_prepare(j->p->core, command, NULL, "posture", j->s->a, &cmd, ei));
    cmd.now = j->s->cause.now;
    cmd.routine = true;
    return core_enqueue_in(j->tx, j->s->cause.serial, &cmd, ei);
}

/* When the device is to be asked: every so often, and for a reading that confirms. */
static int64_t ask_time(const struct judgement *j)
{
    const struct posture_subject *s = j->s;
    if (!(j->asks || s->curious) || !s->enrollment)
        return POSTURE_NEVER;
    int64_t at = s->row.asked_at ? s->row.asked_at + j->p->conf.refresh : s->cause.now;
    if (j->plan.ask_at && s->row.asked_at < j->plan.ask_at && j->plan.ask_at < at)
        at = j->plan.ask_at;
    return at;
}

static int64_t attested_at(const struct posture_subject *s)
{
    int64_t at = 0;
    for (size_t i = 0; i < s->known.n; i++)
        if (s->known.obs[i].source == POSTURE_ATTESTED && s->known.obs[i].at > at)
            at = s->known.obs[i].at;
    return at;
}

/* What an attestation must carry, when one is due; empty otherwise. One nonce is good until it came
 * back or is old: a device that attested within seven days sends what it has. */
static enum td_err nonce(struct judgement *j, struct span *ret, struct errinfo *ei)
{
    const struct posture_subject *s = j->s;
    const struct posture_conf *conf = &j->p->conf;
    const int64_t now = s->cause.now;
    struct cur c;
    *ret = (struct span){NULL, 0};
    if (!j->proofs || !conf->ops.attest || now - attested_at(s) < conf->attest_every)
        return TD_OK;
    enum td_err e = tx_row(j->tx, POSTURE_SQL(NONCE), SV_LIST(SV_TEXT(s->cause.serial)), &c, ei);
    if (e == TD_OK && now - cur_int(&c, 1) < conf->attest_every)
        *ret = cur_span_dup(&c, 0, s->a);
    if (e == TD_OK)
        cur_end(&c);
    if (ret->n || (e != TD_OK && e != TD_NOTFOUND))
        return e;
    uint8_t fresh[POSTURE_NONCE_SIZE];
    rng_fill(conf->rng, fresh, sizeof fresh);
    *ret = arena_span(s->a, SPAN_ARR(fresh));
    if (!ret->p)
        return err_set(ei, TD_NOMEM, "no memory for a question");
    return tx_exec(j->tx, POSTURE_SQL(NONCE_PUT),
                   SV_LIST(SV_TEXT(s->cause.serial), SV_BLOB(*ret), SV_INT(now)), NULL, ei);
}

static enum td_err question(struct judgement *j, bool ask, int64_t *ret_at, struct errinfo *ei)
{
    struct posture_subject *s = j->s;
    *ret_at = ask_time(j);
    if (*ret_at > s->cause.now || !ask || !j->p->core)
        return TD_OK;
    TD_TRY(ask_one(j, "SecurityInfo", posture_query_security(s->a), ei));
    struct span fresh;
    TD_TRY(nonce(j, &fresh, ei));
    TD_TRY(ask_one(j, "DeviceInformation", posture_query_device(fresh, s->a), ei));
    s->row.asked_at = s->cause.now;
    s->curious = false;
    *ret_at = ask_time(j);
    return TD_OK;
}

/* --- the whole ------------------------------------------------------------------------------- */

static void schedule(struct judgement *j, int64_t ask_at)
{
    struct posture_subject *s = j->s;
    int64_t due = posture_plan_due(&j->plan, s->cause.now);
    s->due_at = due ? due : POSTURE_NEVER;
    if (s->row.exempt_until > s->cause.now && s->row.exempt_until < s->due_at)
        s->due_at = s->row.exempt_until;
    if (ask_at < s->due_at)
        s->due_at = ask_at;
}

static enum td_err write_device(struct tx *tx, const struct posture_subject *s, struct errinfo *ei)
{
    const struct posture_device *d = &s->row;
    return tx_exec(tx, POSTURE_SQL(DEV_PUT),
                   SV_LIST(SV_TEXT(d->serial), SV_INT(d->state), SV_INT(d->since),
                           SV_INT(d->hold_at), SV_INT(d->revoke_at), SV_INT(d->exempt_until),
                           SV_INT(d->asked_at), SV_INT(d->judged_at), SV_INT(s->due_at),
                           SV_INT(s->rules_rev), SV_INT(s->restore)),
                   NULL, ei);
}

/* No rules, no price: what is known is kept for those to come. */
static bool nothing_to_judge(const struct posture_subject *s, const struct posture_rules *rules)
{
    return rules->n == 0 && !s->curious && s->there && s->rules_rev == rules->rev &&
           s->due_at == POSTURE_NEVER;
}

enum td_err posture_subject_judge(struct posture *p, struct tx *tx, struct posture_subject *s,
                                  bool ask, struct errinfo *ei)
{
    struct judgement j = {.p = p, .tx = tx, .s = s};
    struct posture_rules *rules;
    int64_t ask_at;
    const enum posture_state was = s->row.state;
    TD_TRY(posture_rules_take(p, tx, &rules, ei));
    if (nothing_to_judge(s, rules)) {
        posture_rules_drop(p, rules);
        return TD_OK;
    }
    s->rules_rev = rules->rev;
    enum td_err e = judge_rules(&j, rules, ei);
    posture_rules_drop(p, rules);
    TD_TRY(e);
    s->row.state = state_of(&j);
    s->row.hold_at = j.plan.hold_at;
    s->row.revoke_at = j.plan.revoke_at;
    s->row.judged_at = s->cause.now;
    TD_TRY(act(&j, was, ei));
    TD_TRY(question(&j, ask, &ask_at, ei));
    schedule(&j, ask_at);
    return write_device(tx, s, ei);
}

/* --- what rooms above call ------------------------------------------------------------------- */

static enum td_err begin(struct tx *tx, const struct posture_cause *c, struct arena *a,
                         struct posture_subject **ret, struct errinfo *ei)
{
    arena_init(a, POSTURE_ARENA);
    *ret = arena_alloc(a, sizeof **ret);
    if (!*ret)
        return err_set(ei, TD_NOMEM, "no memory for a judgement");
    return posture_subject_load(tx, c, a, *ret, ei);
}

enum td_err posture_hear(struct posture *p, struct tx *tx, const struct posture_said *said,
                         struct errinfo *ei)
{
    const struct posture_cause c = {said->serial, said->now, said->txn};
    arena_auto a = {0};
    struct posture_subject *s;
    enum td_err e = begin(tx, &c, &a, &s, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    if (said->n) {
        TD_TRY(posture_known_merge(&s->known, said, ei));
        TD_TRY(posture_known_save(tx, said->serial, &s->known, said->source, ei));
    }
    return posture_subject_judge(p, tx, s, false, ei);
}

enum td_err posture_look(struct posture *p, struct tx *tx, const struct posture_cause *c,
                         struct errinfo *ei)
{
    const struct posture_said nothing = {.serial = c->serial, .now = c->now, .txn = c->txn};
    return posture_hear(p, tx, &nothing, ei);
}

enum td_err posture_soon(struct tx *tx, const char *serial, struct errinfo *ei)
{
    return tx_exec(tx, POSTURE_SQL(SOON), SV_LIST(SV_TEXT(serial)), NULL, ei);
}

enum td_err posture_attested(struct tx *tx, const char *serial, const char *command,
                             struct errinfo *ei)
{
    return tx_exec(tx, POSTURE_SQL(NONCE_CAME), SV_LIST(SV_TEXT(serial), SV_TEXT(command)), NULL,
                   ei);
}

enum td_err posture_forget(struct tx *tx, const char *serial, struct errinfo *ei)
{
    TD_TRY(tx_exec(tx, POSTURE_SQL(NONCE_DROP), SV_LIST(SV_TEXT(serial)), NULL, ei));
    TD_TRY(tx_exec(tx, POSTURE_SQL(VERDICTS_DROP), SV_LIST(SV_TEXT(serial)), NULL, ei));
    TD_TRY(tx_exec(tx, POSTURE_SQL(FACTS_DROP), SV_LIST(SV_TEXT(serial)), NULL, ei));
    return tx_exec(tx, POSTURE_SQL(DEV_DROP), SV_LIST(SV_TEXT(serial)), NULL, ei);
}

enum td_err posture_exempt(struct posture *p, struct tx *tx, const struct posture_cause *c,
                           int64_t until, const char *actor, struct errinfo *ei)
{
    arena_auto a = {0};
    struct posture_subject *s;
    char detail[48];
    TD_TRY(begin(tx, c, &a, &s, ei));
    s->row.exempt_until = until;
    snprintf(detail, sizeof detail, "until=%lld", (long long)until);
    TD_TRY(audit_add(tx, c->now, c->txn, actor, "posture.exempt", c->serial, detail, ei));
    return posture_subject_judge(p, tx, s, false, ei);
}

enum td_err posture_refresh(struct posture *p, struct tx *tx, const struct posture_cause *c,
                            struct errinfo *ei)
{
    arena_auto a = {0};
    struct posture_subject *s;
    TD_TRY(begin(tx, c, &a, &s, ei));
    if (!s->enrollment)
        return err_reason(ei, TD_STATE, "not-enrolled", "the device is not enrolled");
    s->row.asked_at = 0;
    s->curious = true;
    return posture_subject_judge(p, tx, s, true, ei);
}

/* --- external facts -------------------------------------------------------------------------- */

static enum td_err check_external(const struct posture_external *x, struct errinfo *ei)
{
    char form[POSTURE_VALUE_MAX + 1];
    const struct posture_fact *f = posture_fact_find(span_str(x->name));
    if (!f || !span_starts(span_str(x->name), SPAN_LIT(POSTURE_EXTERNAL_PREFIX)))
        return err_reason(ei, TD_INVAL, "invalid-fact",
                          "other systems set facts named " POSTURE_EXTERNAL_PREFIX
                          "NAME: a-z, 0-9, '-', '_', at most 40");
    if (x->value && !posture_value(f, span_str(x->value), form))
        return err_reason(ei, TD_INVAL, "invalid-fact", "value: true or false");
    return TD_OK;
}

static size_t count(const struct posture_known *k, enum posture_source src)
{
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++)
        n += k->obs[i].source == src;
    return n;
}

enum td_err posture_external_set(struct posture *p, struct tx *tx, const struct posture_external *x,
                                 struct errinfo *ei)
{
    const struct posture_cause *c = &x->cause;
    arena_auto a = {0};
    struct posture_subject *s;
    TD_TRY(check_external(x, ei));
    TD_TRY(begin(tx, c, &a, &s, ei));
    struct posture_obs *was = posture_known_find(&s->known, POSTURE_EXTERNAL, x->name);
    bool same = was && x->value && strcmp(was->value, x->value) == 0;
    if (!was && !x->value)
        return err_set(ei, TD_NOTFOUND, "the device has no such fact");
    if (!was && count(&s->known, POSTURE_EXTERNAL) == POSTURE_EXTERNAL_MAX)
        return err_reason(ei, TD_LIMIT, "too-many-facts", "the device has %d external facts",
                          POSTURE_EXTERNAL_MAX);
    const struct posture_obs one = {.name = x->name, .value = x->value, .at = c->now};
    const struct posture_said said = {.source = POSTURE_EXTERNAL, .obs = &one, .n = 1};
    if (x->value)
        TD_TRY(posture_known_merge(&s->known, &said, ei));
    else
        *was = s->known.obs[--s->known.n];
    TD_TRY(posture_known_save(tx, c->serial, &s->known, POSTURE_EXTERNAL, ei));
    if (!same) {
        char detail[POSTURE_NAME_MAX + 16];
        snprintf(detail, sizeof detail, "%s=%s", x->name, x->value ? x->value : "");
        TD_TRY(audit_add(tx, c->now, c->txn, x->actor, "posture.fact", c->serial, detail, ei));
    }
    return posture_subject_judge(p, tx, s, false, ei);
}
