/* Webhook endpoints as administrators see them. The functions run inside the caller's
 * transaction. */
#ifndef TD_WEB_HOOK_HOOKS_H
#define TD_WEB_HOOK_HOOKS_H

#include "mdm/store/outbox.h"
#include "mdm/store/sealed.h"
#include "web/hook/message.h"

#define HOOK_ENDPOINTS_MAX 32
#define HOOK_NAME_MAX 200
#define HOOK_TYPES_MAX 1000
#define HOOK_QUEUE_COUNTED 10000 /* a longer queue is not counted to its end */

extern const struct store_stmts hook_stmts;

#define HOOK_PURPOSE "webhook" /* of what is sealed */

/* Strings live in the arena it was read into; times are 0 for never. */
struct hook {
    const char *id, *name, *url;
    const char *types; /* words separated by blanks, "" for all */
    bool enabled;
    int64_t rev;
    const char *created_by;
    int64_t created_at, updated_at;
    /* how its deliveries go */
    int64_t next_at, failing_since, last_success_at, last_error_at;
    const char *last_error;
    int64_t delivered, dropped;
    int64_t queue, oldest_at;
    struct span two; /* the sealed secrets when there is one before the present one, else empty */
    int64_t previous_until; /* for whoever opens them: not read */
};

/* Who changes it, and when; txn ties the audit row to its cause. */
struct hook_cause {
    int64_t now;
    const char *actor, *txn;
};

#define HOOK_IF_ANY (-1)

/* A name of an event, or TD_INVAL with reason "webhook-event". */
TD_NODISCARD enum td_err hook_type_check(struct span name, struct errinfo *ei);

extern const struct sealed_column hook_column;

/* Adds h->id, name, url, types, enabled. TD_LIMIT when there are HOOK_ENDPOINTS_MAX. */
TD_NODISCARD enum td_err hook_add(struct tx *tx, const struct hook *h, struct span sealed,
                                  const struct hook_cause *c, struct errinfo *ei);

/* Sets name, url, types, enabled. TD_NOTFOUND; TD_CONFLICT with http 412 when if_match is not its
 * rev. What waits for it stays, and a delivery under way is the last one to the old address. */
TD_NODISCARD enum td_err hook_put(struct tx *tx, const struct hook *h, int64_t if_match,
                                  const struct hook_cause *c, struct errinfo *ei);

/* The secrets as they lie there (secrets.h). TD_NOTFOUND. */
TD_NODISCARD enum td_err hook_sealed(struct tx *tx, const char *id, struct arena *a,
                                     struct span *ret, struct errinfo *ei);

/* Others in their place, the old one of which signs until then (0: it has ended). TD_NOTFOUND;
 * TD_CONFLICT when they are not `was` any more. */
TD_NODISCARD enum td_err hook_set_secret(struct tx *tx, const char *id, struct span was,
                                         struct span sealed, int64_t until,
                                         const struct hook_cause *c, struct errinfo *ei);

struct hook_sealed {
    const char *id;
    struct span sealed;
};

/* The endpoints with two secrets, at most HOOK_ENDPOINTS_MAX; in their place others, if they are
 * the same still. */
TD_NODISCARD enum td_err hook_sealed_two(struct tx *tx, struct arena *a,
                                         struct hook_sealed ret[static HOOK_ENDPOINTS_MAX],
                                         size_t *ret_n, struct errinfo *ei);
TD_NODISCARD enum td_err hook_sealed_replace(struct tx *tx, const struct hook_sealed *was,
                                             struct span sealed, struct errinfo *ei);

/* TD_NOTFOUND. What waited for it goes with the events. */
TD_NODISCARD enum td_err hook_delete(struct tx *tx, const char *id, const struct hook_cause *c,
                                     struct errinfo *ei);

TD_NODISCARD enum td_err hook_get(struct tx *tx, const char *id, struct arena *a, struct hook *ret,
                                  struct errinfo *ei);

/* By id, behind `after`, at most `max`. */
TD_NODISCARD enum td_err hook_list(struct tx *tx, const char *after, size_t max, struct arena *a,
                                   struct hook **ret, size_t *ret_n, struct errinfo *ei);

/* Puts a ping in its queue. TD_NOTFOUND; TD_STATE with reason "webhook-disabled". */
TD_NODISCARD enum td_err hook_ping(struct tx *tx, const char *id, const char *event,
                                   const struct hook_cause *c, struct errinfo *ei);

/* Ends it because it said so (410), unless it has another address by now. */
TD_NODISCARD enum td_err hook_gone(struct tx *tx, const char *id, const char *url,
                                   const struct hook_cause *c, struct errinfo *ei);

/* A store job without ctx, at start: endpoints that want every type want those that this version
 * added. */
enum td_err hook_refresh(struct tx *tx, void *ctx, struct errinfo *ei);

#endif
