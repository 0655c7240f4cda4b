/* Comma-separated values, RFC 4180, strictly: a quote stands around a whole field or doubled inside
 * one, lines end with CRLF or LF (the last may lack it), text is UTF-8 without NUL. A byte order
 * mark in front is skipped. Borrows its input. */
#ifndef TD_INVENTORY_CSV_H
#define TD_INVENTORY_CSV_H

#include "mdm/base/arena.h"
#include "mdm/base/err.h"

struct csv {
    struct span in;
    size_t at;
    size_t line; /* on which the record returned last begins, from 1 */
    size_t next; /* on which the next one begins */
};

/* TD_PARSE when the input is not UTF-8 without NUL; the line is in c->line and in the message. */
TD_NODISCARD enum td_err csv_init(struct csv *c, struct span in, struct errinfo *ei);

/* The next record: its fields, borrowed from the input or, when a doubled quote had to be undone,
 * from the arena. TD_NOTFOUND behind the last one, TD_PARSE (the message names the line), TD_LIMIT
 * with more than `max` fields, TD_NOMEM. */
TD_NODISCARD enum td_err csv_next(struct csv *c, struct arena *a, struct span *fields, size_t max,
                                  size_t *ret_n, struct errinfo *ei);

#endif
