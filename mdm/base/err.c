#include "mdm/base/err.h"

#include <stdio.h>
#include <string.h>

#include "mdm/base/log.h"

static const struct {
    const char *name, *acme, *text;
    int http, level;
} table[] = {
#define ERR(n, h, a, l, t) [TD_##n] = {#n, a, t, h, LOG_##l},
#include "mdm/base/err.def"
#undef ERR
};
_Static_assert(TD_NITEMS(table) == TD_ERR_MAX, "one row for each error");

static enum td_err known(enum td_err e)
{
    return (unsigned)e < TD_ERR_MAX ? e : TD_INTERNAL;
}

const char *err_name(enum td_err e)
{
    return table[known(e)].name;
}

const char *err_text(enum td_err e)
{
    return table[known(e)].text;
}

int err_http(enum td_err e)
{
    return table[known(e)].http;
}

const char *err_acme(enum td_err e)
{
    return table[known(e)].acme;
}

int err_level(enum td_err e)
{
    return table[known(e)].level;
}

static TD_PRINTF(5, 0) void fill(struct errinfo *ei, enum td_err e, const char *reason, int sys,
                                 const char *fmt, va_list ap)
{
    if (!ei)
        return;
    /* built beside *ei: the arguments may point into it when a message is wrapped */
    struct errinfo out = {.code = e, .reason = reason, .sys_errno = sys};
    int n = vsnprintf(out.msg, sizeof out.msg, fmt, ap);
    if (sys && n >= 0 && (size_t)n < sizeof out.msg) {
        char text[80];
        snprintf(out.msg + n, sizeof out.msg - (size_t)n, ": %s",
                 strerror_r(sys, text, sizeof text));
    }
    *ei = out;
}

enum td_err err_set(struct errinfo *ei, enum td_err e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(ei, e, NULL, 0, fmt, ap);
    va_end(ap);
    return e;
}

enum td_err err_reason(struct errinfo *ei, enum td_err e, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(ei, e, reason, 0, fmt, ap);
    va_end(ap);
    return e;
}

enum td_err err_sys(struct errinfo *ei, enum td_err e, int sys, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(ei, e, NULL, sys, fmt, ap);
    va_end(ap);
    return e;
}

const char *err_msg(const struct errinfo *ei, enum td_err e)
{
    return ei && ei->msg[0] ? ei->msg : err_text(e);
}
