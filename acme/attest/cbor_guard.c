#include "acme/attest/cbor_guard.h"

#include "mdm/base/limits.h"
#include "mdm/base/rd.h"

enum major { UINT, NINT, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };

struct head {
    enum major major;
    unsigned info; /* additional information */
    uint64_t value;
};

struct map_key {
    struct head head;
    struct span text;
};

struct walk {
    struct rd rd;
    unsigned items;
    /* A stack: each open map has its keys on top. As many as items, so it cannot overflow. */
    struct map_key keys[LIMIT_CBOR_ITEMS];
    size_t nkeys;
    struct errinfo *ei;
};

/* The initial byte and its argument (RFC 8949 section 3). Indefinite lengths (31) and the reserved
 * values 28 to 30 are refused. */
static enum td_err head_read(struct walk *w, struct head *h)
{
    uint8_t b = rd_u8(&w->rd);
    *h = (struct head){.major = (enum major)(b >> 5), .info = b & 31, .value = b & 31};
    if (w->rd.bad)
        return err_set(w->ei, TD_PARSE, "CBOR ends early");
    if (h->info >= 28)
        return err_set(w->ei, TD_PARSE, "CBOR of indefinite length or reserved form");
    if (h->info >= 24)
        h->value = rd_be(&w->rd, (size_t)1 << (h->info - 24));
    if (w->rd.bad)
        return err_set(w->ei, TD_PARSE, "CBOR ends early");
    /* libcbor 0.8 reads neither every tag nor unassigned simple values, and no attestation has
     * them: of major type 7 false, true, null, undefined and the floats stay */
    if (h->major == TAG || (h->major == SIMPLE && (h->info < 20 || h->info == 24)))
        return err_set(w->ei, TD_PARSE, "CBOR tag or simple value that no attestation has");
    return TD_OK;
}

static bool same_key(const struct map_key *a, const struct map_key *b)
{
    return a->head.major == b->head.major && a->head.value == b->head.value &&
           span_eq(a->text, b->text);
}

static enum td_err string_skip(struct walk *w, const struct head *h, struct span *ret)
{
    if (h->value > rd_left(&w->rd))
        return err_set(w->ei, TD_PARSE, "CBOR string is longer than the input");
    *ret = rd_span(&w->rd, (size_t)h->value);
    return TD_OK;
}

static enum td_err count_item(struct walk *w, unsigned depth)
{
    if (depth > LIMIT_CBOR_DEPTH)
        return err_set(w->ei, TD_LIMIT, "CBOR is nested over %d deep", LIMIT_CBOR_DEPTH);
    if (++w->items > LIMIT_CBOR_ITEMS)
        return err_set(w->ei, TD_LIMIT, "CBOR has over %d items", LIMIT_CBOR_ITEMS);
    return TD_OK;
}

static enum td_err key_read(struct walk *w, size_t first, unsigned depth)
{
    TD_TRY(count_item(w, depth));
    struct map_key k = {.text = {NULL, 0}};
    TD_TRY(head_read(w, &k.head));
    if (k.head.major > TEXT)
        return err_set(w->ei, TD_PARSE, "CBOR map key is neither integer nor string");
    if (k.head.major >= BYTES)
        TD_TRY(string_skip(w, &k.head, &k.text));
    for (size_t i = first; i < w->nkeys; i++)
        if (same_key(&w->keys[i], &k))
            return err_set(w->ei, TD_PARSE, "CBOR map key stands twice");
    w->keys[w->nkeys++] = k;
    return TD_OK;
}

static enum td_err item(struct walk *w, unsigned depth);

static enum td_err map(struct walk *w, uint64_t pairs, unsigned depth)
{
    size_t first = w->nkeys;
    for (uint64_t i = 0; i < pairs; i++) {
        TD_TRY(key_read(w, first, depth + 1));
        TD_TRY(item(w, depth + 1));
    }
    w->nkeys = first;
    return TD_OK;
}

static enum td_err item(struct walk *w, unsigned depth)
{
    TD_TRY(count_item(w, depth));
    struct head h;
    struct span s;
    TD_TRY(head_read(w, &h));
    if (h.major == BYTES || h.major == TEXT)
        return string_skip(w, &h, &s);
    /* every element takes at least one byte, every pair two */
    if ((h.major == ARRAY && h.value > rd_left(&w->rd)) ||
        (h.major == MAP && h.value > rd_left(&w->rd) / 2))
        return err_set(w->ei, TD_PARSE, "CBOR claims more elements than bytes");
    if (h.major == MAP)
        return map(w, h.value, depth);
    for (uint64_t i = 0; h.major == ARRAY && i < h.value; i++)
        TD_TRY(item(w, depth + 1));
    return TD_OK;
}

enum td_err cbor_guard(struct span s, struct errinfo *ei)
{
    struct walk w;
    w.rd = rd_init(s);
    w.items = 0;
    w.nkeys = 0;
    w.ei = ei;
    TD_TRY(item(&w, 1));
    if (!rd_done(&w.rd))
        return err_set(ei, TD_PARSE, "bytes behind the CBOR item");
    return TD_OK;
}
