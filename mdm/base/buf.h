/* A growing byte buffer with a mandatory maximum.
 *
 * Invariant: after buf_init, p is NULL or points to n bytes followed by a NUL that is not counted.
 * Failure is sticky: after an append failed (LIMIT or NOMEM) the content is freed and wiped and
 * each later append returns the same error, so a chain of appends needs one check at its end. */
#ifndef TD_BASE_BUF_H
#define TD_BASE_BUF_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

struct buf {
    uint8_t *p;
    size_t n, cap, max;
    enum td_err err;
};

/* Starts an empty buffer that never holds more than `max` bytes. No allocation happens yet. */
void buf_init(struct buf *b, size_t max);

/* Frees the content (wiping it) and leaves an empty buffer with the same maximum. NULL is fine. */
void buf_free(struct buf *b);

/* Empties without freeing; clears the sticky error. */
void buf_reset(struct buf *b);

enum td_err buf_add(struct buf *b, const void *p, size_t n);
enum td_err buf_span(struct buf *b, struct span s);
enum td_err buf_str(struct buf *b, const char *s);
enum td_err buf_u8(struct buf *b, uint8_t v);
/* Big-endian integers. */
enum td_err buf_u16(struct buf *b, uint16_t v);
enum td_err buf_u32(struct buf *b, uint32_t v);
enum td_err buf_u64(struct buf *b, uint64_t v);
enum td_err buf_printf(struct buf *b, const char *fmt, ...) TD_PRINTF(2, 3);

/* The content, borrowed until the next change. */
struct span buf_view(const struct buf *b);

/* The content as a string, "" when empty; borrowed. */
const char *buf_cstr(const struct buf *b);

/* Takes the content out (owned by the caller, free()); the buffer is empty afterwards. NULL when
 * empty or failed. *ret_n (if not NULL) gets the size. */
uint8_t *buf_take(struct buf *b, size_t *ret_n);

#define buf_auto __attribute__((cleanup(buf_free))) struct buf

#endif
