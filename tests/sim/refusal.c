#include "tests/sim/refusal.h"

#define ACME_PREFIX "urn:ietf:params:acme:error:"

static void set(char *out, size_t n, const char *v)
{
    if (v && strncmp(v, ACME_PREFIX, sizeof(ACME_PREFIX) - 1) == 0)
        v += sizeof(ACME_PREFIX) - 1;
    if (v && strcmp(v, "about:blank") == 0) /* RFC 9457: says nothing beyond the status */
        v = NULL;
    snprintf(out, n, "%s", v ? v : "");
}

static enum td_err say(const struct refusal *r, struct errinfo *ei)
{
    return err_set(ei, TD_FORBIDDEN, "%s: HTTP %d%s%s%s%s", r->step, r->status,
                   r->type[0] ? " " : "", r->type, r->detail[0] ? ": " : "", r->detail);
}

static void from_object(struct refusal *r, const struct json *o)
{
    const char *type = NULL, *detail = NULL;
    /* RFC 9457, or Apple's {code, description, message, details} */
    if (json_get_str(o, "type", &type) != TD_OK && json_get_str(o, "code", &type) != TD_OK)
        type = NULL;
    if (json_get_str(o, "detail", &detail) != TD_OK &&
        json_get_str(o, "description", &detail) != TD_OK &&
        json_get_str(o, "title", &detail) != TD_OK)
        detail = NULL;
    set(r->type, sizeof(r->type), type);
    set(r->detail, sizeof(r->detail), detail);
}

/* The text of a body that is no JSON, made fit for one line. */
static void from_text(struct refusal *r, struct span body)
{
    size_t n = body.n < sizeof(r->detail) - 1 ? body.n : sizeof(r->detail) - 1;
    for (size_t i = 0; i < n; i++)
        r->detail[i] = body.p[i] >= 0x20 && body.p[i] < 0x7f ? (char)body.p[i] : ' ';
    r->detail[n] = 0;
}

enum td_err refusal_set(struct refusal *r, const char *step, const struct httpread_resp *resp,
                        struct errinfo *ei)
{
    char type[128] = "";
    struct json *o = NULL;
    arena_auto a;
    arena_init(&a, 262144);
    *r = (struct refusal){.step = step, .status = resp->status};
    httpread_header(resp, "Content-Type", type, sizeof(type));
    if (strstr(type, "json") && json_parse(buf_view(&resp->body), &a, &o, NULL) == TD_OK)
        from_object(r, o);
    else
        from_text(r, buf_view(&resp->body));
    return say(r, ei);
}

enum td_err refusal_object(struct refusal *r, const char *step, const struct json *error,
                           struct errinfo *ei)
{
    *r = (struct refusal){.step = step, .status = 200};
    from_object(r, error);
    return say(r, ei);
}

enum td_err refusal_text(struct refusal *r, const char *step, int status, const char *detail,
                         struct errinfo *ei)
{
    *r = (struct refusal){.step = step, .status = status};
    snprintf(r->detail, sizeof(r->detail), "%s", detail);
    return say(r, ei);
}

enum td_err refusal_none(struct refusal *r, const char *step, enum td_err e, struct errinfo *ei)
{
    struct errinfo was = ei ? *ei : (struct errinfo){0};
    *r = (struct refusal){.step = step};
    snprintf(r->detail, sizeof(r->detail), "%s", err_msg(&was, e));
    return err_set(ei, e, "%s: %s", step, r->detail);
}
