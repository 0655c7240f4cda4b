#include "mdm/posture/eval.h"

const char *posture_verdict_name(enum posture_verdict v)
{
    static const char *const names[] = {"pass", "fail", "unknown"};
    return (size_t)v < TD_NITEMS(names) ? names[v] : "unknown";
}

static const char *const states[] = {"passing", "failing", "held", "revoked"};

const char *posture_state_name(enum posture_state s)
{
    return (size_t)s < TD_NITEMS(states) ? states[s] : "failing";
}

bool posture_state_parse(struct span name, enum posture_state *ret)
{
    for (size_t i = 0; i < TD_NITEMS(states); i++) {
        if (span_eq_str(name, states[i])) {
            *ret = (enum posture_state)i;
            return true;
        }
    }
    return false;
}

static bool counts(const struct posture_rule *r, const struct posture_obs *o, int64_t now)
{
    return strcmp(o->name, r->fact) == 0 && (!r->attested || o->source == POSTURE_ATTESTED) &&
           (r->max_age == 0 || now - o->at <= r->max_age);
}

void posture_judge(const struct posture_rule *r, const struct posture_obs *obs, size_t n,
                   int64_t now, struct posture_result *ret)
{
    const struct posture_obs *best = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct posture_obs *o = &obs[i];
        if (!counts(r, o, now))
            continue;
        if (!best || o->at > best->at || (o->at == best->at && o->source < best->source))
            best = o;
    }
    *ret = (struct posture_result){.verdict = POSTURE_UNKNOWN, .obs = best};
    if (!best)
        return;
    ret->verdict = posture_rule_holds(r, best->value) ? POSTURE_PASS : POSTURE_FAIL;
    ret->until = r->max_age ? best->at + r->max_age + 1 : 0;
}

/* A reading of what the device's own system says: one odd answer, as of a system that is just
 * starting, is not acted upon. Everything else stands by itself. */
static void read_again(const struct posture_result *res, int64_t confirm_after, int64_t now,
                       struct posture_track *t)
{
    bool another = res->obs->fresh && now - t->at >= confirm_after;
    if (res->obs->source != POSTURE_REPORTED) {
        t->readings = POSTURE_CONFIRM_LIMIT;
    } else if (t->readings == 0 || (another && t->readings < POSTURE_CONFIRM_LIMIT)) {
        t->readings++;
        t->at = now;
    }
}

void posture_track_next(const struct posture_rule *r, const struct posture_result *res,
                        int64_t confirm_after, int64_t now, const struct posture_track *was,
                        struct posture_track *ret)
{
    *ret = *was;
    if (res->verdict == POSTURE_UNKNOWN && was->verdict == POSTURE_FAIL)
        return;
    bool bad = was->verdict == POSTURE_UNKNOWN && r->unknown_fails;
    if (res->verdict == POSTURE_FAIL && bad) /* it was not satisfied, and is not */
        *ret = (struct posture_track){POSTURE_FAIL, was->since, now, POSTURE_CONFIRM_LIMIT};
    else if (res->verdict != was->verdict)
        *ret = (struct posture_track){.verdict = res->verdict, .since = now};
    if (res->verdict == POSTURE_FAIL)
        read_again(res, confirm_after, now, ret);
}

static void earliest(int64_t *at, int64_t candidate)
{
    if (candidate && (*at == 0 || candidate < *at))
        *at = candidate;
}

void posture_plan_add(struct posture_plan *p, const struct posture_rule *r,
                      const struct posture_result *res, const struct posture_track *t,
                      int64_t confirm_after)
{
    earliest(&p->next_change, res->until);
    if (t->verdict == POSTURE_PASS || (t->verdict == POSTURE_UNKNOWN && !r->unknown_fails))
        return;
    int64_t wait = r->grace;
    if (t->verdict == POSTURE_FAIL && t->readings < r->confirm) {
        earliest(&p->ask_at, t->at + (confirm_after ? confirm_after : 1));
        wait = wait > POSTURE_CONFIRM_MAX ? wait : POSTURE_CONFIRM_MAX;
    }
    if (!r->enforce)
        return;
    p->failing++;
    earliest(&p->hold_at, t->since + wait);
    if (r->revoke_after)
        earliest(&p->revoke_at, t->since + wait + r->revoke_after);
}

enum posture_state posture_plan_state(const struct posture_plan *p, enum posture_state was,
                                      int64_t now)
{
    if (p->failing == 0)
        return POSTURE_PASSING;
    if (was == POSTURE_REVOKED || (p->revoke_at && p->revoke_at <= now))
        return POSTURE_REVOKED;
    return p->hold_at <= now ? POSTURE_HELD : POSTURE_FAILING;
}

int64_t posture_plan_due(const struct posture_plan *p, int64_t now)
{
    const int64_t times[] = {p->hold_at, p->revoke_at, p->ask_at, p->next_change};
    int64_t due = 0;
    for (size_t i = 0; i < TD_NITEMS(times); i++)
        if (times[i] > now)
            earliest(&due, times[i]);
    return due;
}
