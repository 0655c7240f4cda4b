/* What the files of mdm/posture share. Internal to mdm/posture. */
#ifndef TD_POSTURE_POSTURE_INT_H
#define TD_POSTURE_POSTURE_INT_H

#include <pthread.h>

#include "mdm/base/tick.h"
#include "mdm/posture/posture.h"
#include "mdm/posture/sql.h"

#define POSTURE_ARENA ((size_t)1 << 20)
#define POSTURE_NEVER INT64_MAX

/* The rules of one moment, shared by those who judge by them. Immutable. */
struct posture_rules {
    size_t refs; /* under struct posture.lock */
    char stamp[RNG_ID_SIZE];
    int64_t rev;
    size_t n;
    struct posture_rule list[];
};

struct posture {
    struct posture_conf conf;
    struct core *core;
    pthread_mutex_t lock;
    struct posture_rules *rules; /* the last ones read */
    struct tick *tick;
};

/* The rules as this transaction sees them; ended by posture_rules_drop. */
TD_NODISCARD enum td_err posture_rules_take(struct posture *p, struct tx *tx,
                                            struct posture_rules **ret, struct errinfo *ei);
void posture_rules_drop(struct posture *p, struct posture_rules *r);

/* All that is known of a device: two sources of table facts, external ones, two of our own. */
#define POSTURE_KNOWN_MAX (2 * POSTURE_FACTS_MAX + POSTURE_EXTERNAL_MAX + 2)
struct posture_known {
    struct posture_obs obs[POSTURE_KNOWN_MAX];
    size_t n;
};
TD_NODISCARD enum td_err posture_known_load(struct tx *tx, const char *serial, struct arena *a,
                                            struct posture_known *ret, struct errinfo *ei);
/* Takes in what was said. TD_LIMIT when it does not fit. */
TD_NODISCARD enum td_err posture_known_merge(struct posture_known *k, const struct posture_said *s,
                                             struct errinfo *ei);
/* Writes the row of one source. */
TD_NODISCARD enum td_err posture_known_save(struct tx *tx, const char *serial,
                                            const struct posture_known *k, enum posture_source src,
                                            struct errinfo *ei);
struct posture_obs *posture_known_find(struct posture_known *k, enum posture_source src,
                                       const char *name);

/* A device and what is about it, as the judgement reads it. */
struct posture_subject {
    struct arena *a;
    struct posture_cause cause;
    const char *platform, *groups, *enrollment; /* NULL: not enrolled */
    struct posture_known known;
    struct posture_device row;
    int64_t due_at, rules_rev;
    bool there, restore; /* it has a row; its access identities are to be pushed */
    bool curious;        /* it is asked though no rule needs to know */
};
/* TD_NOTFOUND: not in the inventory. */
TD_NODISCARD enum td_err posture_subject_load(struct tx *tx, const struct posture_cause *c,
                                              struct arena *a, struct posture_subject *ret,
                                              struct errinfo *ei);

/* The attestation that the device sent last, verified and heard; what becomes of it is logged. */
void posture_attested_one(struct posture *p, const char *serial);

/* The first column of a query, at most `max`, in the arena. */
TD_NODISCARD enum td_err posture_serials(struct tx *tx, const struct store_stmt *st,
                                         const struct sval *args, size_t nargs, size_t max,
                                         struct arena *a, const char ***ret, size_t *ret_n,
                                         struct errinfo *ei);

/* Of DEV in sql.def, from that column on. */
struct posture_device posture_device_read(const struct cur *c, int col);

/* The rows of a device's rules. */
struct posture_stored {
    const char *rule, *fact;
    struct posture_track t;
    bool seen; /* its rule is there and applies */
};
struct posture_verdicts {
    struct posture_stored list[POSTURE_RULES_MAX];
    size_t n;
};
TD_NODISCARD enum td_err posture_verdicts_load(struct tx *tx, const struct posture_subject *s,
                                               struct posture_verdicts *ret, struct errinfo *ei);
struct posture_stored *posture_verdicts_find(struct posture_verdicts *all, const char *rule);
/* Writes what differs from `was` (NULL: there is no row). */
TD_NODISCARD enum td_err posture_verdicts_write(struct tx *tx, const char *serial,
                                                const struct posture_rule *r,
                                                const struct posture_stored *was,
                                                const struct posture_track *t, struct errinfo *ei);

/* Whether a rule is about the device, and how they stand. */
bool posture_subject_concerns(const struct posture_subject *s, const struct posture_rule *r);
void posture_subject_track(const struct posture *p, const struct posture_subject *s,
                           const struct posture_rule *r, const struct posture_stored *was,
                           struct posture_result *res, struct posture_track *ret);

/* Judges, acts, writes. `ask`: a question that is due is put to the device, else the sweep is told
 * to. */
TD_NODISCARD enum td_err posture_subject_judge(struct posture *p, struct tx *tx,
                                               struct posture_subject *s, bool ask,
                                               struct errinfo *ei);

#endif
