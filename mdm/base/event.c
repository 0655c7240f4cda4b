#include "mdm/base/event.h"

void event_bus_init(struct event_bus *b)
{
    *b = (struct event_bus){0};
}

enum td_err event_subscribe(struct event_bus *b, enum event_type t, event_fn fn, void *ctx)
{
    if ((unsigned)t >= EVENT_TYPE_MAX || !fn)
        return TD_INVAL;
    if (b->n[t] == EVENT_SUBSCRIBERS_MAX)
        return TD_LIMIT;
    b->subs[t][b->n[t]].fn = fn;
    b->subs[t][b->n[t]].ctx = ctx;
    b->n[t]++;
    return TD_OK;
}

enum td_err event_publish(const struct event_bus *b, enum event_type t, const void *payload,
                          struct errinfo *ei)
{
    if ((unsigned)t >= EVENT_TYPE_MAX)
        return err_set(ei, TD_INVAL, "no such event");
    for (unsigned i = 0; i < b->n[t]; i++)
        TD_TRY(b->subs[t][i].fn(b->subs[t][i].ctx, payload, ei));
    return TD_OK;
}
