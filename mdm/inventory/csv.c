#include "mdm/inventory/csv.h"

#include "mdm/base/utf8.h"

static enum td_err bad(const struct csv *c, struct errinfo *ei, const char *why)
{
    return err_reason(ei, TD_PARSE, "csv", "line %zu: %s", c->line, why);
}

enum td_err csv_init(struct csv *c, struct span in, struct errinfo *ei)
{
    *c = (struct csv){.in = in, .line = 1, .next = 1};
    if (span_starts(in, SPAN_LIT("\xef\xbb\xbf")))
        c->at = 3;
    for (size_t i = c->at; i < in.n;) {
        uint32_t cp;
        size_t len = utf8_next(in, i, &cp);
        if (len == 0 || cp == 0)
            return bad(c, ei, "not UTF-8 text");
        c->line += cp == '\n';
        i += len;
    }
    c->line = 1;
    return TD_OK;
}

/* The byte at c->at, -1 behind the end. */
static int peek(const struct csv *c)
{
    return c->at < c->in.n ? c->in.p[c->at] : -1;
}

static enum td_err field_plain(struct csv *c, struct span *ret, struct errinfo *ei)
{
    size_t from = c->at;
    int b;
    while ((b = peek(c)) >= 0 && b != ',' && b != '\n' && b != '\r') {
        if (b == '"')
            return bad(c, ei, "a quote inside a field that is not quoted");
        c->at++;
    }
    *ret = span_sub(c->in, from, c->at - from);
    return TD_OK;
}

/* The content between the quotes, with each doubled quote made one. */
static enum td_err undouble(struct span s, struct arena *a, struct span *ret)
{
    uint8_t *out = arena_alloc(a, s.n + 1);
    if (!out)
        return TD_NOMEM;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        out[n++] = s.p[i];
        if (s.p[i] == '"')
            i++;
    }
    *ret = span_of(out, n);
    return TD_OK;
}

static enum td_err field_quoted(struct csv *c, struct arena *a, struct span *ret,
                                struct errinfo *ei)
{
    size_t from = ++c->at;
    bool doubled = false;
    for (;; c->at++) {
        int b = peek(c);
        if (b < 0)
            return bad(c, ei, "a quote is not closed");
        c->next += b == '\n';
        if (b != '"')
            continue;
        if (c->at + 1 < c->in.n && c->in.p[c->at + 1] == '"') {
            doubled = true;
            c->at++;
            continue;
        }
        break;
    }
    *ret = span_sub(c->in, from, c->at - from);
    c->at++;
    return doubled ? undouble(*ret, a, ret) : TD_OK;
}

/* Takes what ends a field; *ret_more when another field follows in the record. */
static enum td_err field_end(struct csv *c, bool *ret_more, struct errinfo *ei)
{
    int b = peek(c);
    *ret_more = b == ',';
    if (b < 0)
        return TD_OK;
    c->at++;
    if (b == ',')
        return TD_OK;
    if (b == '\r') {
        b = peek(c);
        c->at++;
        if (b != '\n')
            return bad(c, ei, "a carriage return without a line feed");
    }
    if (b != '\n')
        return bad(c, ei, "text behind a closing quote");
    c->next++;
    return TD_OK;
}

enum td_err csv_next(struct csv *c, struct arena *a, struct span *fields, size_t max, size_t *ret_n,
                     struct errinfo *ei)
{
    if (c->at >= c->in.n)
        return TD_NOTFOUND;
    c->line = c->next;
    size_t n = 0;
    bool more = true;
    while (more) {
        if (n == max)
            return err_reason(ei, TD_PARSE, "csv", "line %zu: more than %zu fields", c->line, max);
        if (peek(c) == '"')
            TD_TRY(field_quoted(c, a, &fields[n], ei));
        else
            TD_TRY(field_plain(c, &fields[n], ei));
        n++;
        TD_TRY(field_end(c, &more, ei));
    }
    *ret_n = n;
    return TD_OK;
}
