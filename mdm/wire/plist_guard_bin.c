/* The binary property list (CFBinaryPList.c): "bplist00", objects, a table of their offsets, a
 * trailer of 32 bytes. Walks what a parser would walk, without recursion. */
#include "mdm/base/limits.h"
#include "mdm/wire/plist_guard.h"

#define TRAILER 32
#define HEADER 8

struct doc {
    struct span s;
    size_t offset_size, ref_size;
    size_t table, nobjects; /* where the offsets begin; how many */
    size_t nodes, bytes;    /* so far, each reference counted */
    struct errinfo *ei;
};

/* One container being walked. */
struct frame {
    size_t object;
    size_t refs, n; /* where its references begin; how many, keys first */
    size_t next;
    bool dict;
};

static enum td_err bad(const struct doc *d, const char *what)
{
    return err_reason(d->ei, TD_PARSE, "plist-binary", "binary property list: %s", what);
}

/* Big-endian; the caller checked that the bytes are there. */
static uint64_t be(const struct doc *d, size_t at, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | d->s.p[at + i];
    return v;
}

static bool size_ok(uint8_t n)
{
    return (n >= 1 && n <= 4) || n == 8;
}

static enum td_err trailer(struct doc *d, size_t *ret_top)
{
    if (d->s.n < HEADER + 1 + 1 + TRAILER || !span_starts(d->s, SPAN_LIT("bplist00")))
        return bad(d, "truncated, or not of version 00");
    size_t at = d->s.n - TRAILER;
    uint8_t offset_size = d->s.p[at + 6], ref_size = d->s.p[at + 7];
    uint64_t n = be(d, at + 8, 8), top = be(d, at + 16, 8), table = be(d, at + 24, 8);
    if (!size_ok(offset_size) || !size_ok(ref_size))
        return bad(d, "size of offsets or references");
    if (n == 0 || top >= n)
        return bad(d, "no top object");
    if (n > LIMIT_PLIST_NODES)
        return err_reason(d->ei, TD_LIMIT, "plist-nodes", "property list of more than %d objects",
                          LIMIT_PLIST_NODES);
    /* the table ends where the trailer begins, so no byte is left over */
    if (table <= HEADER || table >= at || (at - table) / offset_size != n ||
        (at - table) % offset_size != 0)
        return bad(d, "offset table");
    d->offset_size = offset_size;
    d->ref_size = ref_size;
    d->table = (size_t)table;
    d->nobjects = (size_t)n;
    *ret_top = (size_t)top;
    return TD_OK;
}

/* Reads the count of a string, data or container at *at (its marker) and moves behind it. */
static enum td_err count(const struct doc *d, size_t *at, uint64_t *ret)
{
    uint64_t n = d->s.p[(*at)++] & 0x0f;
    if (n == 0x0f) {
        if (*at >= d->table || (d->s.p[*at] & 0xf0) != 0x10 || (d->s.p[*at] & 0x0f) > 3)
            return bad(d, "count");
        size_t size = (size_t)1 << (d->s.p[*at] & 0x0f);
        (*at)++;
        if (d->table - *at < size)
            return bad(d, "count outside");
        n = be(d, *at, size);
        *at += size;
    }
    *ret = n;
    return TD_OK;
}

/* Text and data: inside, bounded in sum; text without NUL, ASCII where it says so. */
static enum td_err check_bytes(struct doc *d, size_t at, uint8_t kind)
{
    uint64_t n = 0;
    TD_TRY(count(d, &at, &n));
    size_t unit = kind == 0x60 ? 2 : 1;
    if (n > (d->table - at) / unit)
        return bad(d, "text or data outside");
    if (n * unit > LIMIT_PLIST_BYTES - d->bytes)
        return err_reason(d->ei, TD_LIMIT, "plist-bytes",
                          "property list that expands to more than %d bytes", LIMIT_PLIST_BYTES);
    d->bytes += (size_t)n * unit;
    /* libplist ends a text at its first NUL: what follows would go unseen */
    for (size_t i = at; kind == 0x50 && i < at + n; i++)
        if (d->s.p[i] == 0 || d->s.p[i] >= 0x80)
            return bad(d, "text that is not ASCII");
    for (size_t i = at; kind == 0x60 && i < at + 2 * n; i += 2)
        if (d->s.p[i] == 0 && d->s.p[i + 1] == 0)
            return bad(d, "NUL in a text");
    return TD_OK;
}

/* Numbers, dates, booleans, UIDs: a marker with the size in its low bits. */
static enum td_err check_scalar(const struct doc *d, size_t at)
{
    static const struct {
        uint8_t marker, size;
    } scalars[] = {{0x08, 0}, {0x09, 0}, {0x10, 1}, {0x11, 2}, {0x12, 4}, {0x13, 8}, {0x14, 16},
                   {0x22, 4}, {0x23, 8}, {0x33, 8}, {0x80, 1}, {0x81, 2}, {0x83, 4}, {0x87, 8}};
    for (size_t i = 0; i < TD_NITEMS(scalars); i++)
        if (d->s.p[at] == scalars[i].marker)
            return d->table - at - 1 < scalars[i].size ? bad(d, "number outside") : TD_OK;
    return bad(d, "unknown kind of object");
}

/* Where an object begins; counts the visit. */
static enum td_err locate(struct doc *d, uint64_t object, size_t *ret)
{
    if (object >= d->nobjects)
        return bad(d, "reference to no object");
    uint64_t offset = be(d, d->table + (size_t)object * d->offset_size, d->offset_size);
    if (offset < HEADER || offset >= d->table)
        return bad(d, "offset outside");
    if (++d->nodes > LIMIT_PLIST_NODES)
        return err_reason(d->ei, TD_LIMIT, "plist-nodes", "property list of more than %d objects",
                          LIMIT_PLIST_NODES);
    *ret = (size_t)offset;
    return TD_OK;
}

/* Checks one object. *ret describes a container; its refs are 0 for anything else. */
static enum td_err visit(struct doc *d, uint64_t object, bool key, struct frame *ret)
{
    size_t at = 0;
    *ret = (struct frame){0};
    TD_TRY(locate(d, object, &at));
    uint8_t kind = d->s.p[at] & 0xf0;
    if (key && kind != 0x50 && kind != 0x60)
        return bad(d, "key that is no string");
    if (kind == 0x40 || kind == 0x50 || kind == 0x60)
        return check_bytes(d, at, kind);
    if (kind != 0xa0 && kind != 0xd0)
        return check_scalar(d, at);
    uint64_t n = 0;
    size_t per = kind == 0xd0 ? 2 : 1; /* references for each element */
    TD_TRY(count(d, &at, &n));
    if (n > (d->table - at) / (d->ref_size * per))
        return bad(d, "container outside");
    *ret = (struct frame){
        .object = (size_t)object, .refs = at, .n = (size_t)n * per, .dict = kind == 0xd0};
    return TD_OK;
}

enum td_err plist_guard_bin(struct span s, size_t *ret_nodes, struct errinfo *ei)
{
    struct doc d = {.s = s, .offset_size = 1, .ref_size = 1, .ei = ei};
    struct frame stack[LIMIT_PLIST_DEPTH], f;
    size_t depth = 0, top = 0;
    TD_TRY(trailer(&d, &top));
    TD_TRY(visit(&d, top, false, &f));
    for (;;) {
        if (f.refs != 0) { /* a container, also an empty one, takes a level */
            for (size_t i = 0; i < depth; i++)
                if (stack[i].object == f.object)
                    return bad(&d, "object inside itself");
            if (depth == LIMIT_PLIST_DEPTH)
                return err_reason(ei, TD_LIMIT, "plist-depth",
                                  "property list deeper than %d levels", LIMIT_PLIST_DEPTH);
            stack[depth++] = f;
        }
        while (depth > 0 && stack[depth - 1].next == stack[depth - 1].n)
            depth--;
        if (depth == 0) {
            *ret_nodes = d.nodes;
            return TD_OK;
        }
        struct frame *up = &stack[depth - 1];
        bool key = up->dict && up->next < up->n / 2;
        uint64_t ref = be(&d, up->refs + up->next * d.ref_size, d.ref_size);
        up->next++;
        TD_TRY(visit(&d, ref, key, &f));
    }
}
