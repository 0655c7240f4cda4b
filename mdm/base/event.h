/* Synchronous subscriptions, for needs that point upward: a lower room publishes, a higher one
 * acts inside the same transaction. Subscribe before threads exist; publishing is lock-free. */
#ifndef TD_BASE_EVENT_H
#define TD_BASE_EVENT_H

#include "mdm/base/err.h"

enum event_type {
    EVENT_DEVICE_LEAVING, /* payload: struct inv_event (mdm/inventory/devices.h) */
    EVENT_DEVICE_CHANGED, /* likewise: its row in the inventory */
    EVENT_TYPE_MAX
};

#define EVENT_SUBSCRIBERS_MAX 8

typedef enum td_err (*event_fn)(void *ctx, const void *payload, struct errinfo *ei);

struct event_bus {
    struct {
        event_fn fn;
        void *ctx;
    } subs[EVENT_TYPE_MAX][EVENT_SUBSCRIBERS_MAX];
    unsigned n[EVENT_TYPE_MAX];
};

void event_bus_init(struct event_bus *b);

/* TD_LIMIT when the type has its maximum of subscribers. */
TD_NODISCARD enum td_err event_subscribe(struct event_bus *b, enum event_type t, event_fn fn,
                                         void *ctx);

/* Calls the subscribers in order; the first error stops and is returned (the publisher's
 * transaction rolls back). */
TD_NODISCARD enum td_err event_publish(const struct event_bus *b, enum event_type t,
                                       const void *payload, struct errinfo *ei);

#endif
