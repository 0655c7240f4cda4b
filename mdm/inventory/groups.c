#include "mdm/inventory/groups.h"

#include <stdlib.h>
#include <string.h>

#include "mdm/base/buf.h"
#include "mdm/base/str.h"
#include "mdm/base/words.h"

static bool separator(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '|';
}

static struct span next_word(struct span *rest)
{
    while (rest->n > 0 && separator(rest->p[0]))
        *rest = span_sub(*rest, 1, rest->n);
    size_t n = 0;
    while (n < rest->n && !separator(rest->p[n]))
        n++;
    struct span w = span_sub(*rest, 0, n);
    *rest = span_sub(*rest, n, rest->n);
    return w;
}

struct span inv_groups_next(struct span *rest)
{
    return next_word(rest);
}

static int by_bytes(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    int d = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return d ? d : (x->n > y->n) - (x->n < y->n);
}

enum td_err inv_groups_parse(struct span text, struct arena *a, const char **ret,
                             struct errinfo *ei)
{
    struct span words[INV_GROUPS_MAX] = {{NULL, 0}}, w;
    size_t n = 0;
    while ((w = next_word(&text)).n > 0) {
        if (!words_plain(w) || w.n > INV_GROUP_MAX)
            return err_reason(ei, TD_INVAL, "invalid-group",
                              "a group's name has 1 to %d letters, digits, '-', '_', '.'",
                              INV_GROUP_MAX);
        if (n == INV_GROUPS_MAX)
            return err_reason(ei, TD_INVAL, "invalid-group", "more than %d groups", INV_GROUPS_MAX);
        words[n++] = w;
    }
    qsort(words, n, sizeof words[0], by_bytes);
    buf_auto b;
    buf_init(&b, INV_GROUPS_TEXT);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && span_eq(words[i], words[i - 1]))
            continue;
        if (b.n > 0)
            buf_u8(&b, ' ');
        buf_span(&b, words[i]);
    }
    if (b.err != TD_OK)
        return err_reason(ei, TD_INVAL, "invalid-group", "the groups are too long together");
    *ret = arena_dup(a, buf_view(&b));
    return *ret ? TD_OK : err_set(ei, TD_NOMEM, "no memory for groups");
}

const char *inv_platform(const char *product, const char *model)
{
    static const struct {
        const char *word, *platform;
    } words[] = {
        {"iphone", "ios"},
        {"ipod", "ios"},
        {"ipad", "ipados"},
        {"appletv", "tvos"},
        {"apple tv", "tvos"},
        {"watch", "watchos"},
        {"realitydevice", "visionos"},
        {"vision", "visionos"},
        {"mac", "macos"},
    };
    const char *const texts[] = {product, model};
    for (size_t t = 0; t < TD_NITEMS(texts); t++)
        for (size_t i = 0; i < TD_NITEMS(words); i++)
            if (texts[t] && strcasestr(texts[t], words[i].word))
                return words[i].platform;
    return "";
}
