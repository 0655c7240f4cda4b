/* The inventory: which devices are ours, and on whose word. The device key is the serial number.
 * Leaving is one transaction: the row goes, and EVENT_DEVICE_LEAVING is published inside it, so
 * that certificates and enrolment change with it or not at all. */
#ifndef TD_INVENTORY_DEVICES_H
#define TD_INVENTORY_DEVICES_H

#include "mdm/base/event.h"
#include "mdm/base/rng.h"
#include "mdm/inventory/groups.h"
#include "mdm/store/store.h"

extern const struct store_stmts inventory_stmts;

#define INV_TEXT_MAX 256       /* bytes of a name, model or owner */
#define INV_IMPORT_ROWS 500000 /* rows of one file */

/* Strings live in the arena they were read into, or are the caller's. */
struct inv_device {
    const char *serial, *name, *model, *owner, *source;
    const char *groups; /* words separated by a blank: inv_groups_parse */
    int64_t rev, created_at, updated_at;
};

/* Payload of EVENT_DEVICE_LEAVING and EVENT_DEVICE_CHANGED. */
struct inv_event {
    struct tx *tx;
    const char *serial, *actor, *txn; /* txn: id tying the audit rows together */
    int64_t now;
};

struct inventory {
    struct store *store;
    const struct event_bus *bus;
    const struct clock *clock;
    struct rng *rng;
};

/* What str_device_serial takes: the signer certifies no other; case kept. */
bool inv_serial_valid(struct span s);

/* TD_NOTFOUND when not listed. */
TD_NODISCARD enum td_err inv_get(struct tx *tx, const char *serial, struct arena *a,
                                 struct inv_device *ret, struct errinfo *ei);

#define INV_IF_LISTED (-2) /* if_match: change only, whatever the rev */

/* Creates or changes. if_match: the rev the caller saw, -1 for any, 0 to create only, INV_IF_LISTED
 * to change only; TD_CONFLICT with http 412 otherwise. *ret_created tells which. Audited. What
 * equals the stored row changes nothing, its rev included. NULL strings count as "", but NULL
 * groups stay as they are; rev and the times of *d are not read. TD_INVAL with reason
 * "invalid-serial", "invalid-text" or "invalid-group". */
TD_NODISCARD enum td_err inv_put(struct inventory *inv, const struct inv_device *d,
                                 int64_t if_match, const char *actor, int64_t *ret_rev,
                                 bool *ret_created, struct errinfo *ei);

/* Removes a device; everything it holds ends in the same transaction. TD_NOTFOUND when not listed,
 * if_match as in inv_put; the error of a subscriber undoes it all. The row is gone when the
 * subscribers run. */
TD_NODISCARD enum td_err inv_delete(struct inventory *inv, const char *serial, int64_t if_match,
                                    const char *actor, struct errinfo *ei);

/* Serials behind `after` ("" for the start) in byte order, at most `max`. */
TD_NODISCARD enum td_err inv_list(struct tx *tx, const char *after, size_t max, struct arena *a,
                                  struct inv_device **ret, size_t *ret_n, struct errinfo *ei);

struct inv_import {
    size_t created, changed, unchanged;
    size_t line; /* of the first error */
};

/* CSV (RFC 4180) with a header row naming at least "serial", further "name", "model", "owner",
 * "groups" (other columns are refused). All or nothing: an error names its line. Devices not in the
 * file stay, and so does what a device has in a column the file lacks. One write transaction. */
TD_NODISCARD enum td_err inv_import_csv(struct inventory *inv, struct span csv, const char *source,
                                        const char *actor, struct inv_import *ret,
                                        struct errinfo *ei);

#endif
