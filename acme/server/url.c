#include "acme/server/url.h"

#include <stdio.h>

#include "acme/server/problem.h"

char *acme_url(const struct acme *a, struct arena *arena, const char *fmt, ...)
{
    char path[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof path)
        return NULL;
    return arena_printf(arena, "%s%s", a->conf.base_url, path);
}

bool acme_id_valid(struct span s)
{
    if (s.n != RNG_ID_SIZE - 1)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool alnum = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && c != '-' && c != '_')
            return false;
    }
    return true;
}

enum td_err acme_id_param(const struct req *r, const char **ret, struct errinfo *ei)
{
    if (!acme_id_valid(r->params[0]))
        return acme_not_found(ei);
    *ret = arena_dup(r->arena, r->params[0]);
    return *ret ? TD_OK : err_set(ei, TD_NOMEM, "request");
}
