#include "mdm/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "mdm/base/clock.h"
#include "mdm/base/utf8.h"

/* PIPE_BUF of Linux: lines of processes that share a pipe do not mix. */
#define LINE_SIZE 4096
/* Kept free for the end of a line that was cut: a quote, ` cut=true` or `,"cut":true}`, newline. */
#define TAIL_SIZE 16
#define REQUEST_SIZE 32

static struct {
    enum log_level level;
    enum log_format format;
    int fd;
} sink = {LOG_INFO, LOG_FORMAT_LOGFMT, 2};

static _Thread_local char request_id[REQUEST_SIZE];

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};
_Static_assert(TD_NITEMS(level_names) == LOG_MAX, "one name for each level");

void log_setup(enum log_level level, enum log_format format, int fd)
{
    sink.level = level;
    sink.format = format;
    sink.fd = fd;
}

enum log_level log_level_get(void)
{
    return sink.level;
}

enum td_err log_level_parse(const char *s, enum log_level *ret)
{
    for (unsigned i = 0; s && i < LOG_MAX; i++)
        if (strcmp(s, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return TD_OK;
        }
    return TD_PARSE;
}

void log_request(const char *id)
{
    snprintf(request_id, sizeof request_id, "%s", id ? id : "");
}

struct line {
    char *p;
    size_t n, cap; /* cap leaves TAIL_SIZE free */
    bool json, cut;
};

/* All of the bytes or none; after the first piece that did not fit nothing is added. */
static bool put(struct line *l, const void *p, size_t n)
{
    if (l->cut || n > l->cap - l->n) {
        l->cut = true;
        return false;
    }
    memcpy(l->p + l->n, p, n);
    l->n += n;
    return true;
}

/* For the reserved tail. */
static void put_tail(struct line *l, const char *s)
{
    size_t n = strlen(s);
    memcpy(l->p + l->n, s, n);
    l->n += n;
}

/* True for characters that a terminal or a line reader could act upon. */
static bool unsafe(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x2028 || cp == 0x2029 ||
           (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff;
}

static void put_escaped(struct line *l, struct span s)
{
    for (size_t i = 0; i < s.n && !l->cut;) {
        uint32_t cp = 0xfffd;
        size_t n = utf8_next(s, i, &cp);
        char esc[8];
        if (n == 0) {
            put(l, "\\ufffd", 6);
            n = 1;
        } else if (cp == '"' || cp == '\\') {
            esc[0] = '\\';
            esc[1] = (char)cp;
            put(l, esc, 2);
        } else if (cp == '\n') {
            put(l, "\\n", 2);
        } else if (unsafe(cp)) {
            snprintf(esc, sizeof esc, "\\u%04x", (unsigned)cp);
            put(l, esc, 6);
        } else {
            put(l, s.p + i, n);
        }
        i += n;
    }
}

static bool plain(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '=' || s.p[i] == '\\')
            return false;
    return s.n > 0;
}

static bool key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

/* Keys are ours, but a key that breaks the line must not. */
static void put_key(struct line *l, const char *key)
{
    size_t mark = l->n;
    const char *before = l->json ? (l->n > 1 ? ",\"" : "\"") : l->n > 0 ? " " : "";
    const char *after = l->json ? "\":" : "=";
    put(l, before, strlen(before));
    for (const char *k = key ? key : "null"; *k && !l->cut; k++)
        put(l, key_char(*k) ? k : "_", 1);
    put(l, after, strlen(after));
    if (l->cut)
        l->n = mark;
}

static void put_text(struct line *l, const char *key, struct span s)
{
    if (l->cut)
        return;
    put_key(l, key);
    if (l->cut)
        return;
    if (!l->json && plain(s)) {
        size_t left = l->cap - l->n;
        put(l, s.p, s.n < left ? s.n : left);
        l->cut = s.n > left;
        return;
    }
    if (put(l, "\"", 1))
        put_escaped(l, s);
    else
        put_tail(l, "\"");
    put_tail(l, "\"");
    if (l->n > l->cap) /* the quote took from the tail: nothing more fits */
        l->cut = true;
}

static void put_literal(struct line *l, const char *key, const char *text)
{
    size_t mark = l->n;
    if (l->cut)
        return;
    put_key(l, key);
    if (!l->cut && !put(l, text, strlen(text)))
        l->n = mark;
}

static void put_kv(struct line *l, const struct log_kv *kv)
{
    char number[24];
    switch (kv->kind) {
    case LOG_KV_STR:
        if (kv->str)
            put_text(l, kv->key, span_str(kv->str));
        else
            put_literal(l, kv->key, "null");
        break;
    case LOG_KV_SPAN:
        put_text(l, kv->key, kv->span);
        break;
    case LOG_KV_I64:
        snprintf(number, sizeof number, "%lld", (long long)kv->i64);
        put_literal(l, kv->key, number);
        break;
    case LOG_KV_END:
        break;
    }
}

size_t log_format(char *out, size_t n, enum log_format format, int64_t now_ms, enum log_level level,
                  const char *request, const char *event, const struct log_kv *kv)
{
    if (n <= 2 * TAIL_SIZE)
        return 0;
    struct line l = {.p = out, .cap = n - TAIL_SIZE, .json = format == LOG_FORMAT_JSON};
    char text[CLOCK_TEXT_SIZE], when[CLOCK_TEXT_SIZE + 8];
    clock_text(now_ms / 1000, text);
    text[CLOCK_TEXT_SIZE - 2] = 0; /* the Z follows the fraction */
    snprintf(when, sizeof when, "%s.%03dZ", text, now_ms < 0 ? 0 : (int)(now_ms % 1000));

    if (l.json)
        put(&l, "{", 1);
    put_text(&l, "time", span_str(when));
    put_text(&l, "level", span_str((unsigned)level < LOG_MAX ? level_names[level] : "error"));
    put_text(&l, "event", span_str(event));
    if (request && request[0])
        put_text(&l, "req", span_str(request));
    for (; kv && kv->kind != LOG_KV_END && !l.cut; kv++)
        put_kv(&l, kv);
    if (l.cut)
        put_tail(&l, l.json ? ",\"cut\":true" : " cut=true");
    put_tail(&l, l.json ? "}\n" : "\n");
    return l.n;
}

void log_write(enum log_level level, const char *event, const struct log_kv *kv)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    char line[LINE_SIZE];
    int kept = errno;
    size_t n =
        log_format(line, sizeof line, sink.format, (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000,
                   level, request_id, event, kv);
    while (write(sink.fd, line, n) < 0 && errno == EINTR)
        continue;
    errno = kept; /* a log line between a failed call and its err_sys changes nothing */
}
