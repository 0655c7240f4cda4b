#include "acme/server/ident.h"

#include "acme/server/problem.h"
#include "mdm/base/num.h"
#include "mdm/base/str.h"

#define ARC_MAX INT64_C(4294967295)

bool acme_oid_valid(struct span s)
{
    uint64_t arc, first = 0;
    size_t n = 0;
    if (s.n == 0 || s.p[s.n - 1] == '.')
        return false;
    for (; s.n; n++) {
        if (num_u64(str_cut(&s, '.'), ARC_MAX, &arc) != TD_OK)
            return false;
        if (n == 0)
            first = arc;
        if (first > 2 || (n == 1 && first < 2 && arc > 39))
            return false;
    }
    return n >= 2;
}

static enum td_err malformed(struct errinfo *ei, const char *what)
{
    return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed", "%s", what);
}

static enum td_err permanent(struct span value, struct span *ret, struct errinfo *ei)
{
    const uint8_t *slash = memchr(value.p, '/', value.n);
    *ret = value;
    if (!slash)
        return TD_OK;
    struct span oid = span_sub(value, (size_t)(slash - value.p) + 1, value.n);
    if (slash == value.p || !acme_oid_valid(oid))
        return malformed(ei, "the identifier's value is malformed");
    return acme_refuse(ei, TD_FORBIDDEN, "rejectedIdentifier", "identifier-assigner",
                       "a permanent-identifier of ours has no assigner");
}

static enum td_err hardware(struct span value, struct span *ret, struct errinfo *ei)
{
    const uint8_t *slash = memchr(value.p, '/', value.n);
    if (!slash || slash == value.p ||
        !acme_oid_valid(span_sub(value, (size_t)(slash - value.p) + 1, value.n)))
        return malformed(ei, "a hardware-module is an identifier, a slash and an OID");
    *ret = span_sub(value, 0, (size_t)(slash - value.p));
    return TD_OK;
}

static const struct {
    const char *type;
    enum td_err (*parse)(struct span value, struct span *ret, struct errinfo *ei);
} types[] = {{"permanent-identifier", permanent}, {"hardware-module", hardware}};

const char *acme_ident_hw_type(const char *type, const char *value)
{
    const char *slash = strcmp(type, "hardware-module") == 0 ? strchr(value, '/') : NULL;
    return slash ? slash + 1 : NULL;
}

enum td_err acme_ident_parse(const struct json *id, struct arena *a, struct acme_ident *ret,
                             struct errinfo *ei)
{
    struct span client = {NULL, 0};
    if (json_get_str(id, "type", &ret->type) != TD_OK ||
        json_get_str(id, "value", &ret->value) != TD_OK)
        return malformed(ei, "an identifier lacks type or value");
    for (size_t i = 0; i < TD_NITEMS(types); i++) {
        if (strcmp(ret->type, types[i].type) != 0)
            continue;
        if (!ret->value[0] || strlen(ret->value) > ACME_IDENT_MAX)
            return malformed(ei, "the identifier's value is malformed");
        TD_TRY(types[i].parse(span_str(ret->value), &client, ei));
        ret->client_id = arena_dup(a, client);
        return ret->client_id ? TD_OK : err_set(ei, TD_NOMEM, "identifier");
    }
    return acme_refuse(ei, TD_UNSUPPORTED, "unsupportedIdentifier", "identifier-type",
                       "the identifier's type is not permanent-identifier or hardware-module");
}
