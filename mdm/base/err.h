/* The one error vocabulary of Testudo (err.def) and the detail that travels with it.
 *
 * Every fallible function returns enum td_err; the last argument, `struct errinfo *ei`, may be
 * NULL and receives the detail. Rooms return errors, the edge (web/http, main) logs them once. */
#ifndef TD_BASE_ERR_H
#define TD_BASE_ERR_H

#include <stdarg.h>

#define TD_NODISCARD __attribute__((warn_unused_result))
#define TD_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define TD_NITEMS(a) (sizeof(a) / sizeof((a)[0]))

enum td_err {
#define ERR(name, http, acme, level, text) TD_##name,
#include "mdm/base/err.def"
#undef ERR
    TD_ERR_MAX
};

/* What went wrong, for the log and for the caller. `reason` is a short machine-readable code with
 * static lifetime ("freshness-missing") or NULL; `msg` is one sentence for a person and never
 * holds a secret. `acme` overrides the ACME error type of the table ("badCSR"), or NULL. `http`
 * overrides the HTTP status, or 0. `retry_after` is in seconds, or 0. */
struct errinfo {
    enum td_err code;
    int sys_errno;
    int http;
    int retry_after;
    const char *reason;
    const char *acme;
    char msg[200];
};

/* Names, HTTP status and so on of a code; any value outside the enum reads as INTERNAL. */
const char *err_name(enum td_err e);
const char *err_text(enum td_err e);
int err_http(enum td_err e);
const char *err_acme(enum td_err e);
int err_level(enum td_err e);

/* Fills *ei (if not NULL) and returns `e`, so that `return err_set(ei, TD_PARSE, "...")` reads
 * well. A message over the field's size is cut. The arguments may be ei->msg itself (wrapping). */
enum td_err err_set(struct errinfo *ei, enum td_err e, const char *fmt, ...) TD_PRINTF(3, 4);

/* As err_set, with a machine-readable reason (static lifetime). */
enum td_err err_reason(struct errinfo *ei, enum td_err e, const char *reason, const char *fmt, ...)
    TD_PRINTF(4, 5);

/* As err_set, adds the text of errno `sys`. */
enum td_err err_sys(struct errinfo *ei, enum td_err e, int sys, const char *fmt, ...)
    TD_PRINTF(4, 5);

/* The message of *ei, or the table's text when it is empty. Never NULL. */
const char *err_msg(const struct errinfo *ei, enum td_err e);

#define TD_TRY(expr)                                                                               \
    do {                                                                                           \
        enum td_err td_try_e_ = (expr);                                                            \
        if (td_try_e_ != TD_OK)                                                                    \
            return td_try_e_;                                                                      \
    } while (0)

#endif
