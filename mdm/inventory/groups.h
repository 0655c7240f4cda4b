/* Device groups and platforms: what policies of certificate profiles ask about a device. */
#ifndef TD_INVENTORY_GROUPS_H
#define TD_INVENTORY_GROUPS_H

#include "mdm/base/arena.h"
#include "mdm/base/err.h"

#define INV_GROUPS_MAX 32 /* groups of one device */
#define INV_GROUP_MAX 40  /* bytes of a name: letters, digits, '-', '_', '.' */
#define INV_GROUPS_TEXT 512

/* Words separated by blanks or '|', as they come, to words separated by one blank, in byte order,
 * each once; in the arena. TD_INVAL "invalid-group". */
TD_NODISCARD enum td_err inv_groups_parse(struct span text, struct arena *a, const char **ret,
                                          struct errinfo *ei);

/* The next group of such a list; empty behind the last. */
struct span inv_groups_next(struct span *rest);

/* "ios", "ipados", "macos", "tvos", "visionos", "watchos", or "" when neither text tells. The
 * product ("iPhone15,2") is the device's own word, the model the inventory's ("iPhone 15"). */
const char *inv_platform(const char *product, const char *model);

#endif
