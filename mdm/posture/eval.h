/* The judgement of a device by the rules, and what follows from it when. Pure: no storage, no
 * clock.
 *
 * Of the values of a fact that a rule believes and that are not too old the newest counts, and of
 * two of one time the weightier. A rule that wants attested values hears nothing else. */
#ifndef TD_POSTURE_EVAL_H
#define TD_POSTURE_EVAL_H

#include "mdm/posture/rule.h"

/* The numbers are in the database. */
enum posture_verdict { POSTURE_PASS, POSTURE_FAIL, POSTURE_UNKNOWN };
const char *posture_verdict_name(enum posture_verdict v); /* "pass" */

struct posture_result {
    enum posture_verdict verdict;
    const struct posture_obs *obs; /* the value that counted, NULL for none */
    int64_t until;                 /* when it is too old, 0 for never */
};

/* One rule, which applies, over everything known of the device. */
void posture_judge(const struct posture_rule *r, const struct posture_obs *obs, size_t n,
                   int64_t now, struct posture_result *ret);

/* How a rule stands with a device over time. What fails goes on failing until it passes: a device
 * that falls silent is not in order. */
struct posture_track {
    enum posture_verdict verdict;
    int64_t since;    /* it is so */
    int64_t at;       /* the last reading that counted */
    int64_t readings; /* that failed, one behind the other, confirm_after apart;
                       * POSTURE_CONFIRM_LIMIT when there is nothing to confirm */
};

/* The next state of a track. */
void posture_track_next(const struct posture_rule *r, const struct posture_result *res,
                        int64_t confirm_after, int64_t now, const struct posture_track *was,
                        struct posture_track *ret);

/* The numbers are in the database. */
enum posture_state { POSTURE_PASSING, POSTURE_FAILING, POSTURE_HELD, POSTURE_REVOKED };
const char *posture_state_name(enum posture_state s); /* "passing" */
bool posture_state_parse(struct span name, enum posture_state *ret);

/* Without a confirming reading a rule acts when this much time is over: a device must not escape by
 * not answering. */
#define POSTURE_CONFIRM_MAX 3600

/* What the rules ask for together, gathered one by one. Times are 0 for never. */
struct posture_plan {
    size_t failing;      /* rules that are enforced and not satisfied */
    int64_t hold_at;     /* the earliest */
    int64_t revoke_at;   /* likewise */
    int64_t ask_at;      /* when to ask for a confirming reading */
    int64_t next_change; /* when a verdict may change by age alone */
};
void posture_plan_add(struct posture_plan *p, const struct posture_rule *r,
                      const struct posture_result *res, const struct posture_track *t,
                      int64_t confirm_after);

/* The state that the plan makes of a device in state `was`, at `now`. Revoked lasts until all
 * pass. */
enum posture_state posture_plan_state(const struct posture_plan *p, enum posture_state was,
                                      int64_t now);

/* When to judge again, of the plan's times those behind `now`; 0 for never. */
int64_t posture_plan_due(const struct posture_plan *p, int64_t now);

#endif
