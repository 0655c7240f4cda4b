/* When each device was last heard, gathered in memory and written in batches (MB-55), and the slow
 * sweep that wakes silent devices (MB-60, MB-61). Internal to mdm/core. */
#ifndef TD_CORE_SEEN_H
#define TD_CORE_SEEN_H

#include "mdm/core/core_int.h"

/* Starts the thread; c->conf must be filled. */
TD_NODISCARD enum td_err core_seen_start(struct core *c, struct core_seen **ret,
                                         struct errinfo *ei);

/* Notes that enrolment `id` was heard at `now`. Never blocks on the database. Any thread. */
void core_seen_note(struct core_seen *s, const char *id, int64_t now);

/* Writes what is left, joins, frees. NULL is fine. */
void core_seen_stop(struct core_seen *s);

#endif
