/* The outbox: what others are to be told, written in the transaction of what it tells of. It is
 * delivered behind the commit (web/hook), at least once, until it is done or too old: neither a
 * crash nor a request that ends loses it, and nothing is told that did not happen (MB-78).
 *
 * An event is written only when a sink (an endpoint that is enabled) wants its type, which the same
 * transaction reads by the index of outbox_types: one statement that writes nothing without one.
 * No cache: a cached answer could be older than the transaction.
 *
 * Order: seq grows from one transaction to any that began behind its commit, so what follows from
 * one another is told in order. Of two that ran at the same time either may be first. There is no
 * reading on from the last seq that was seen: a lower one may be committed later. Each sink has its
 * own queue instead, whose rows go when they are done. */
#ifndef TD_STORE_OUTBOX_H
#define TD_STORE_OUTBOX_H

#include "mdm/base/rng.h"
#include "mdm/store/sweep.h"

extern const struct store_stmts outbox_stmts;

enum outbox_type {
#define OUTBOX(symbol, name, doc) OUTBOX_##symbol,
#include "mdm/store/outbox.def"
#undef OUTBOX
    OUTBOX_TYPES
};

const char *outbox_name(enum outbox_type t);
/* OUTBOX_TYPES when there is none of that name. */
enum outbox_type outbox_by_name(struct span name);

#define OUTBOX_FIELDS 6
#define OUTBOX_VALUE_MAX 512 /* bytes; what is longer is cut */

/* Borrowed for the call. */
struct outbox_event {
    enum outbox_type type;
    int64_t at;
    const char *txn;         /* one for all events of one cause; NULL: nobody is told */
    const char *actor;       /* NULL: the server itself */
    const char *device;      /* serial number, NULL for none */
    const char *certificate; /* serial number in hexadecimal, NULL for none */
    struct {
        const char *key, *value; /* never a secret */
    } data[OUTBOX_FIELDS];       /* up to the first without a key */
    const char *id; /* NULL: a new one. An event whose id is there is not added again */
};

/* Appends the event for every sink that wants it. */
TD_NODISCARD enum td_err outbox_add(struct tx *tx, const struct outbox_event *ev,
                                    struct errinfo *ei);

/* Appends it for one sink, whatever that wants. */
TD_NODISCARD enum td_err outbox_add_to(struct tx *tx, const char *sink,
                                       const struct outbox_event *ev, struct errinfo *ei);

/* A step of the cleaner: the oldest events go, and with them what was not delivered. */
TD_NODISCARD enum td_err outbox_clean(struct tx *tx, struct sweep *s, struct errinfo *ei);

#endif
