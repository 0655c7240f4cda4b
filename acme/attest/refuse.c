#include "acme/attest/refuse.h"

#include <stdio.h>

enum td_err attest_refuse(struct errinfo *ei, const char *reason, const char *fmt, ...)
{
    if (!ei)
        return TD_FORBIDDEN;
    char msg[sizeof ei->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    (void)err_reason(ei, TD_FORBIDDEN, reason, "%s", msg);
    ei->acme = "badAttestationStatement";
    return TD_FORBIDDEN;
}
