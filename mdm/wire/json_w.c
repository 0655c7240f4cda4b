#include "mdm/base/clock.h"
#include "mdm/base/utf8.h"
#include "mdm/wire/json.h"

void json_w_init(struct json_w *w, struct buf *b)
{
    *w = (struct json_w){.b = b};
}

static void write_str(struct buf *b, struct span s)
{
    buf_u8(b, '"');
    size_t from = 0; /* what is plain is appended in runs */
    for (size_t i = 0; i < s.n;) {
        uint32_t cp = 0;
        size_t n = utf8_next(s, i, &cp);
        if (n > 0 && cp >= 0x20 && cp != '"' && cp != '\\' && cp != 0x7f) {
            i += n;
            continue;
        }
        buf_add(b, s.p + from, i - from);
        if (n == 0)
            buf_str(b, "\xef\xbf\xbd");
        else if (cp == '"' || cp == '\\')
            buf_printf(b, "\\%c", (char)cp);
        else if (cp == '\n')
            buf_str(b, "\\n");
        else
            buf_printf(b, "\\u%04x", (unsigned)cp);
        i += n ? n : 1;
        from = i;
    }
    if (s.n > from)
        buf_add(b, s.p + from, s.n - from);
    buf_u8(b, '"');
}

/* What stands before a value: the comma, and the key of a member. */
static void before(struct json_w *w, const char *key)
{
    if (w->comma)
        buf_u8(w->b, ',');
    w->comma = true;
    if (key) {
        write_str(w->b, span_str(key));
        buf_u8(w->b, ':');
    }
}

static void open_with(struct json_w *w, const char *key, char c)
{
    before(w, key);
    buf_u8(w->b, (uint8_t)c);
    w->comma = false;
    w->depth++;
}

static void close_with(struct json_w *w, char c)
{
    buf_u8(w->b, (uint8_t)c);
    w->comma = true;
    w->depth--;
}

void json_open(struct json_w *w)
{
    open_with(w, NULL, '{');
}

void json_open_key(struct json_w *w, const char *key)
{
    open_with(w, key, '{');
}

void json_close(struct json_w *w)
{
    close_with(w, '}');
}

void json_array(struct json_w *w)
{
    open_with(w, NULL, '[');
}

void json_array_key(struct json_w *w, const char *key)
{
    open_with(w, key, '[');
}

void json_array_end(struct json_w *w)
{
    close_with(w, ']');
}

void json_kv_str(struct json_w *w, const char *key, const char *v)
{
    before(w, key);
    if (v)
        write_str(w->b, span_str(v));
    else
        buf_str(w->b, "null");
}

void json_kv_span(struct json_w *w, const char *key, struct span v)
{
    before(w, key);
    write_str(w->b, v);
}

void json_kv_int(struct json_w *w, const char *key, int64_t v)
{
    before(w, key);
    buf_printf(w->b, "%lld", (long long)v);
}

void json_kv_bool(struct json_w *w, const char *key, bool v)
{
    before(w, key);
    buf_str(w->b, v ? "true" : "false");
}

void json_kv_time(struct json_w *w, const char *key, int64_t v)
{
    char text[CLOCK_TEXT_SIZE];
    clock_text(v, text);
    json_kv_str(w, key, v ? text : NULL);
}

void json_kv_raw(struct json_w *w, const char *key, struct span v)
{
    before(w, key);
    buf_span(w->b, v);
}

void json_v_str(struct json_w *w, const char *v)
{
    json_kv_str(w, NULL, v);
}

void json_v_int(struct json_w *w, int64_t v)
{
    json_kv_int(w, NULL, v);
}

void json_v_raw(struct json_w *w, struct span v)
{
    json_kv_raw(w, NULL, v);
}
