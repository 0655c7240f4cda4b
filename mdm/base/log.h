/* One event per line, logfmt or JSON, to stderr or a file. The only mutable globals besides the
 * counters and the stop flag. Thread-safe; one write(2) per line. Values are escaped; secrets,
 * tokens and keys have no way in (no KV form takes them). */
#ifndef TD_BASE_LOG_H
#define TD_BASE_LOG_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_MAX };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

enum log_kind { LOG_KV_STR, LOG_KV_SPAN, LOG_KV_I64, LOG_KV_END };

struct log_kv {
    const char *key;
    enum log_kind kind;
    const char *str;
    struct span span;
    int64_t i64;
};

#define KV(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_STR, .str = (v)})
#define KV_SPAN(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_SPAN, .span = (v)})
#define KV_I64(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_I64, .i64 = (int64_t)(v)})

/* Level, format and descriptor (2 by default) of the process's log. Call before threads exist. */
void log_setup(enum log_level level, enum log_format format, int fd);
enum log_level log_level_get(void);

/* Parses "debug", "info", "warn", "error". */
enum td_err log_level_parse(const char *s, enum log_level *ret);

/* The request id put on every line of this thread ("" for none; copied, cut at 31 bytes). */
void log_request(const char *id);

/* event: "cmd.acked", static, lower case. kv ends with kind LOG_KV_END. */
void log_write(enum log_level level, const char *event, const struct log_kv *kv);

/* The first element stands for the comma that is dropped when no pair follows. */
#define log_ev(level, event, ...)                                                                  \
    do {                                                                                           \
        if ((level) >= log_level_get())                                                            \
            log_write((level), (event),                                                            \
                      (const struct log_kv[]){                                                     \
                          {.kind = LOG_KV_END}, ##__VA_ARGS__, {.kind = LOG_KV_END}} +             \
                          1);                                                                      \
    } while (0)

/* Formats one line (with its newline) into out[n], cut if need be; returns its length. For tests
 * and for log_write. `now` is in milliseconds since 1970. */
size_t log_format(char *out, size_t n, enum log_format format, int64_t now_ms, enum log_level level,
                  const char *request, const char *event, const struct log_kv *kv);

#endif
