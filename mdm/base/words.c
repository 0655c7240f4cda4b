#include "mdm/base/words.h"

#include <stdlib.h>

#include "mdm/base/num.h"
#include "mdm/base/str.h"

#define PARTS_MAX 4

static struct span next(struct span *rest, char sep)
{
    struct span w;
    do
        w = str_cut(rest, sep);
    while (w.n == 0 && rest->p);
    return w;
}

struct span words_next(struct span *rest)
{
    return next(rest, ' ');
}

bool words_has(struct span list, struct span w)
{
    struct span one;
    while ((one = words_next(&list)).n > 0)
        if (span_eq(one, w))
            return true;
    return false;
}

bool words_meet(struct span a, struct span b)
{
    struct span one;
    while ((one = words_next(&a)).n > 0)
        if (words_has(b, one))
            return true;
    return false;
}

bool words_plain(struct span w)
{
    for (size_t i = 0; i < w.n; i++) {
        uint8_t c = w.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && c != '-' && c != '_' && c != '.')
            return false;
    }
    return w.n > 0;
}

bool words_platform(struct span w)
{
    return words_has(SPAN_LIT(WORDS_PLATFORMS), w);
}

static int by_bytes(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    int d = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return d ? d : (x->n > y->n) - (x->n < y->n);
}

bool words_sort(char *text, char sep, size_t max, bool (*fits)(struct span), struct span *ret_bad)
{
    struct span words[WORDS_MAX] = {{NULL, 0}}, rest = span_str(text), w;
    char out[WORDS_TEXT];
    size_t n = 0, at = 0;
    while ((w = next(&rest, sep)).n > 0) {
        *ret_bad = w;
        if (w.n > max || n == WORDS_MAX || !fits(w) ||
            (size_t)(w.p - (uint8_t *)text) + w.n >= sizeof out)
            return false;
        words[n++] = w;
    }
    qsort(words, n, sizeof words[0], by_bytes);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && span_eq(words[i], words[i - 1]))
            continue;
        if (at > 0)
            out[at++] = sep;
        memcpy(out + at, words[i].p, words[i].n);
        at += words[i].n; /* never longer than the text it was */
    }
    memcpy(text, out, at);
    text[at] = '\0';
    return true;
}

/* The next number of a version; 0 behind the end. */
static bool part(struct span *rest, uint64_t *ret)
{
    *ret = 0;
    if (!rest->p)
        return true;
    return num_u64(str_cut(rest, '.'), UINT32_MAX, ret) == TD_OK;
}

int version_cmp(struct span a, struct span b, bool *ret_valid)
{
    int order = 0;
    *ret_valid = a.n > 0 && b.n > 0;
    for (size_t i = 0; *ret_valid && i < PARTS_MAX; i++) {
        uint64_t x, y;
        *ret_valid = part(&a, &x) && part(&b, &y);
        if (*ret_valid && order == 0 && x != y)
            order = x < y ? -1 : 1;
    }
    *ret_valid = *ret_valid && !a.p && !b.p;
    return *ret_valid ? order : 0;
}
