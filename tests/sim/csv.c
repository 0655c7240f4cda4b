#include "tests/sim/csv.h"

#include "mdm/base/str.h"

enum { FIELDS_MAX = 32, FIELD_MAX = 1024 };

struct reader {
    struct span rest;
    struct arena *a;
    size_t line;
};

/* The rest of a quoted field behind its first quote: the text, then the bytes up to the separator,
 * which may be a CR alone. False when malformed or too long. */
static bool quoted(struct span s, char out[static FIELD_MAX], size_t *ret_n, size_t *ret_i)
{
    size_t i = 1, n = 0;
    for (;; i++) {
        bool quote = i < s.n && s.p[i] == '"', twice = quote && i + 1 < s.n && s.p[i + 1] == '"';
        if (i >= s.n || n == FIELD_MAX)
            return false;
        if (quote && !twice)
            break;
        i += twice;
        out[n++] = (char)s.p[i];
    }
    i++;
    if (i < s.n && s.p[i] == '\r')
        i++;
    *ret_n = n;
    *ret_i = i;
    return i == s.n || s.p[i] == ',' || s.p[i] == '\n';
}

static bool bare(struct span s, char out[static FIELD_MAX], size_t *ret_n, size_t *ret_i)
{
    size_t i = 0;
    while (i < s.n && s.p[i] != ',' && s.p[i] != '\n')
        i++;
    struct span t = str_trim(span_sub(s, 0, i));
    if (t.n >= FIELD_MAX)
        return false;
    if (t.n)
        memcpy(out, t.p, t.n);
    *ret_n = t.n;
    *ret_i = i;
    return true;
}

/* One field, unquoted, in the arena; *ret_last when it ends its row. NULL on malformed quoting or
 * no memory. */
static const char *field(struct reader *r, bool *ret_last)
{
    char out[FIELD_MAX];
    size_t n = 0, i = 0;
    bool q = r->rest.n && r->rest.p[0] == '"';
    if (!(q ? quoted : bare)(r->rest, out, &n, &i))
        return NULL;
    *ret_last = i >= r->rest.n || r->rest.p[i] == '\n';
    r->rest = span_sub(r->rest, i + 1, r->rest.n);
    return arena_dup(r->a, span_of(out, n));
}

static enum td_err row(struct reader *r, const char *out[static FIELDS_MAX], size_t *ret_n,
                       struct errinfo *ei)
{
    bool last = false;
    size_t n = 0;
    r->line++;
    while (!last) {
        const char *f = n < FIELDS_MAX ? field(r, &last) : NULL;
        if (!f)
            return err_set(ei, TD_PARSE, "inventory line %zu is malformed", r->line);
        out[n++] = f;
    }
    *ret_n = n;
    return TD_OK;
}

static size_t column(const char *const *names, size_t n, const char *want)
{
    for (size_t i = 0; i < n; i++) {
        if (str_ieq(span_str(names[i]), span_str(want)))
            return i;
    }
    return FIELDS_MAX;
}

enum td_err csv_devices(struct span text, struct arena *a, struct csv_device **ret, size_t *ret_n,
                        struct errinfo *ei)
{
    const char *f[FIELDS_MAX];
    size_t nf = 0, n = 0, rows = 1;
    struct reader r = {.rest = text, .a = a};
    if (span_starts(r.rest, SPAN_LIT("\xef\xbb\xbf")))
        r.rest = span_sub(r.rest, 3, r.rest.n);
    for (size_t i = 0; i < text.n; i++)
        rows += text.p[i] == '\n';
    struct csv_device *list = arena_alloc(a, rows * sizeof(*list));
    if (!list)
        return err_set(ei, TD_LIMIT, "the inventory is too large");
    TD_TRY(row(&r, f, &nf, ei));
    size_t serial = column(f, nf, "serial"), model = column(f, nf, "model");
    if (serial == FIELDS_MAX)
        return err_set(ei, TD_PARSE, "the inventory has no column 'serial'");
    while (r.rest.n) {
        TD_TRY(row(&r, f, &nf, ei));
        if (nf == 1 && !f[0][0])
            continue; /* empty line */
        if (nf <= serial || !f[serial][0])
            return err_set(ei, TD_PARSE, "inventory line %zu has no serial", r.line);
        list[n++] = (struct csv_device){f[serial], model < nf ? f[model] : ""};
    }
    *ret = list;
    *ret_n = n;
    return TD_OK;
}
