/* Posture: what devices say of themselves becomes facts, the rules judge them, and access follows:
 * held, revoked, restored. The management identity is never touched (ARCHITECTURE rule 4): the
 * device must be able to report that it is in order again.
 *
 * A device is judged in the transaction that records what it said, and by the sweep when a time is
 * over or the rules changed. All state is in the database: any node may do either. */
#ifndef TD_POSTURE_POSTURE_H
#define TD_POSTURE_POSTURE_H

#include "mdm/base/clock.h"
#include "mdm/core/core.h"
#include "mdm/inventory/devices.h"
#include "mdm/posture/eval.h"

extern const struct store_stmts posture_stmts;

struct posture;

/* Why access changes. */
struct posture_cause {
    const char *serial;
    int64_t now;
    const char *txn; /* ties the rows of one change together */
};

struct posture_ops {
    void *ctx;
    /* The access identities of a device go on hold and stay so, or posture lets them go. */
    enum td_err (*hold)(void *ctx, struct tx *tx, const struct posture_cause *c, bool hold,
                        struct errinfo *ei);
    /* They are revoked; what comes meanwhile is on hold. */
    enum td_err (*revoke)(void *ctx, struct tx *tx, const struct posture_cause *c,
                          struct errinfo *ei);
    /* Verifies an attestation for that device that must carry the nonce; *ret_facts is its evidence
     * as JSON, in the arena. TD_FORBIDDEN with a reason refuses it. Outside a transaction. NULL:
     * none is asked for. */
    enum td_err (*attest)(void *ctx, const char *serial, const struct span *chain, size_t n,
                          struct span nonce, struct arena *a, const char **ret_facts,
                          struct errinfo *ei);
    /* A device whose identities were revoked is in order again: pushes those it is to have. Outside
     * a transaction; it may be called again. */
    enum td_err (*restore)(void *ctx, const char *serial, struct errinfo *ei);
};

struct posture_conf {
    struct store *store;
    const struct clock *clock;
    struct rng *rng;
    struct posture_ops ops;
    int64_t refresh;       /* seconds between questions to a device that rules ask about */
    int64_t confirm_after; /* seconds between two readings that confirm one another */
    int64_t attest_every; /* attested facts that are older are asked for, where a rule wants them */
    unsigned period_ms;   /* of the sweep */
};

TD_NODISCARD enum td_err posture_open(const struct posture_conf *conf, struct posture **ret,
                                      struct errinfo *ei);
const struct posture_conf *posture_conf_of(const struct posture *p);
/* Starts the sweep, which asks devices through `core`; without it posture judges what it is told.
 */
TD_NODISCARD enum td_err posture_start(struct posture *p, struct core *core, struct errinfo *ei);
void posture_stop(struct posture *p);  /* the sweep; NULL is fine */
void posture_close(struct posture *p); /* stopped before; NULL is fine */

/* One round of the sweep, for tests. *ret_n: devices judged. */
TD_NODISCARD enum td_err posture_sweep(struct posture *p, size_t *ret_n, struct errinfo *ei);

/* Looks soon: behind the commit of a change of rules. Any thread. */
void posture_kick(struct posture *p);

/* --- inside the caller's transaction --- */

struct posture_said {
    const char *serial;
    enum posture_source source;
    const struct posture_obs *obs; /* with their times */
    size_t n;
    int64_t now;
    const char *txn;
};

/* Records what was said, and judges. Of a device that is not in the inventory nothing is kept. */
TD_NODISCARD enum td_err posture_hear(struct posture *p, struct tx *tx,
                                      const struct posture_said *s, struct errinfo *ei);

/* The report of that command has an attestation: the sweep verifies it. Nothing when none was asked
 * for. */
TD_NODISCARD enum td_err posture_attested(struct tx *tx, const char *serial, const char *command,
                                          struct errinfo *ei);

/* Judges as things are. */
TD_NODISCARD enum td_err posture_look(struct posture *p, struct tx *tx,
                                      const struct posture_cause *c, struct errinfo *ei);

/* What is about the device changed: the sweep judges it. */
TD_NODISCARD enum td_err posture_soon(struct tx *tx, const char *serial, struct errinfo *ei);

/* The device leaves: nothing of it stays. */
TD_NODISCARD enum td_err posture_forget(struct tx *tx, const char *serial, struct errinfo *ei);

#define POSTURE_EXTERNAL_MAX 32 /* external facts of one device */

/* Sets a fact external.NAME to "true" or "false", or takes it away (value NULL: TD_NOTFOUND when it
 * is not there), and judges. TD_INVAL "invalid-fact", TD_NOTFOUND for a device that is not listed,
 * TD_LIMIT "too-many-facts". Audited when the value is another. */
struct posture_external {
    struct posture_cause cause;
    const char *name, *value, *actor;
};
TD_NODISCARD enum td_err posture_external_set(struct posture *p, struct tx *tx,
                                              const struct posture_external *x, struct errinfo *ei);

/* Until then the rules have no consequence for the device; 0 ends it. TD_NOTFOUND. Audited. */
TD_NODISCARD enum td_err posture_exempt(struct posture *p, struct tx *tx,
                                        const struct posture_cause *c, int64_t until,
                                        const char *actor, struct errinfo *ei);

/* The device is asked soon how it is. TD_NOTFOUND: not listed. */
TD_NODISCARD enum td_err posture_refresh(struct posture *p, struct tx *tx,
                                         const struct posture_cause *c, struct errinfo *ei);

/* --- rules --- */

/* All of them by name, in the arena. */
TD_NODISCARD enum td_err posture_rules_get(struct tx *tx, struct arena *a,
                                           struct posture_rule **ret, size_t *ret_n,
                                           struct errinfo *ei);
/* TD_NOTFOUND. */
TD_NODISCARD enum td_err posture_rule_get(struct tx *tx, const char *name, struct posture_rule *ret,
                                          struct errinfo *ei);

struct posture_change {
    int64_t if_match; /* as inv_put's */
    int64_t now;
    const char *actor, *txn;
};
/* Creates or changes; r->rev and updated_at become the row's. TD_CONFLICT with http 412; TD_LIMIT
 * for more than POSTURE_RULES_MAX. All devices are judged anew by the sweep. Audited. */
TD_NODISCARD enum td_err posture_rule_put(struct tx *tx, struct posture_rule *r,
                                          const struct posture_change *c, bool *ret_created,
                                          struct errinfo *ei);
/* TD_NOTFOUND; TD_CONFLICT as above. */
TD_NODISCARD enum td_err posture_rule_delete(struct tx *tx, const char *name,
                                             const struct posture_change *c, struct errinfo *ei);

/* --- as administrators see it --- */

/* A device's row. */
struct posture_device {
    const char *serial;
    enum posture_state state;
    int64_t since, hold_at, revoke_at, exempt_until, asked_at, judged_at; /* 0: never */
};

/* What a rule that applies says of it. */
struct posture_line {
    const struct posture_rule *rule;
    struct posture_track track;
    const struct posture_obs *obs; /* the value that counts; NULL */
};

struct posture_view {
    struct posture_device device;
    const struct posture_obs *facts; /* by source, then name */
    size_t nfacts;
    const struct posture_line *lines;
    size_t nlines;
};

/* TD_NOTFOUND: not in the inventory. A device nothing was heard of passes as far as it goes. */
TD_NODISCARD enum td_err posture_view_get(struct posture *p, struct tx *tx, const char *serial,
                                          struct arena *a, struct posture_view *ret,
                                          struct errinfo *ei);

/* Devices behind `after` in byte order, at most `max`; state -1 for any. */
TD_NODISCARD enum td_err posture_list(struct tx *tx, int state, const char *after, size_t max,
                                      struct arena *a, struct posture_device **ret, size_t *ret_n,
                                      struct errinfo *ei);

/* Devices that do not satisfy a rule, likewise. */
TD_NODISCARD enum td_err posture_failing(struct tx *tx, const struct posture_rule *rule,
                                         const char *after, size_t max, struct arena *a,
                                         const char ***ret, size_t *ret_n, struct errinfo *ei);

#endif
