#include "acme/server/policy.h"

#include "acme/server/ident.h"
#include "acme/server/problem.h"
#include "acme/server/record.h"

/* What follows /acme/ in other resources' URLs. */
static const char *const taken[] = {"acct", "order", "authz", "chal", "cert", "renewal-info"};

bool acme_profile_name_free(const char *name)
{
    for (size_t i = 0; i < TD_NITEMS(taken); i++)
        if (strcmp(name, taken[i]) == 0)
            return false;
    return true;
}

enum td_err acme_policy_get(const struct acme *a, struct span profile, struct arena *arena,
                            struct acme_policy *ret, struct errinfo *ei)
{
    const struct acme_ops *ops = &a->conf.ops;
    *ret = (struct acme_policy){0};
    if (!ops->profile_policy)
        return span_eq_str(profile, ACME_DEFAULT_PROFILE) ? TD_OK : acme_not_found(ei);
    const char *name = arena_dup(arena, profile);
    if (!name)
        return err_set(ei, TD_NOMEM, "request");
    enum td_err e =
        acme_profile_name_free(name) ? ops->profile_policy(ops->ctx, name, ret, ei) : TD_NOTFOUND;
    if (e != TD_NOTFOUND)
        return e;
    return acme_refuse(ei, e, "malformed", "profile-unknown",
                       "no certificate profile of this name is issued here");
}

enum td_err acme_tell(const struct acme *a, struct tx *tx, const struct acme_news *n,
                      struct errinfo *ei)
{
    const struct acme_ops *ops = &a->conf.ops;
    return ops->device_told ? ops->device_told(ops->told_ctx, tx, n, ei) : TD_OK;
}

enum td_err acme_policy_names(const struct acme_policy *p, const char *id_type,
                              const char *identifier, struct errinfo *ei)
{
    const char *wanted = acme_ident_hw_type(id_type, identifier);
    if (!wanted || strcmp(wanted, p->hardware) == 0)
        return TD_OK;
    return acme_refuse(ei, TD_FORBIDDEN, "rejectedIdentifier", "hardware-type",
                       p->hardware[0] ? "certificates of this profile name another hardware type"
                                      : "certificates of this profile name no hardware module");
}

enum td_err acme_policy_allows(const struct acme *a, struct tx *tx, const char *profile,
                               const char *serial, const char *facts, struct errinfo *ei)
{
    const struct acme_ops *ops = &a->conf.ops;
    TD_TRY(acme_check_listed(a, tx, serial, ei));
    if (!ops->profile_allows)
        return TD_OK;
    enum td_err e = ops->profile_allows(ops->ctx, tx, profile, serial, facts, ei);
    if (e == TD_FORBIDDEN && ei) {
        ei->acme = "rejectedIdentifier";
        ei->http = 403;
    }
    return e;
}
