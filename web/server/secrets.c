#include "web/server/secrets.h"

#include "acme/server/acme.h"
#include "mdm/base/log.h"
#include "web/hook/hooks.h"

static const struct sealed_column *const columns[] = {
    &acme_eab_column,
    &hook_column,
};

static enum td_err renew_column(struct store *s, const struct seal *seal,
                                const struct sealed_column *c, struct sealed_count *total,
                                struct errinfo *ei)
{
    struct sealed_count n = {0};
    TD_TRY(sealed_renew(s, seal, c, &rng_system, &n, ei));
    if (n.renewed)
        log_ev(LOG_INFO, "seal.renewed", KV("purpose", c->purpose), KV_I64("count", n.renewed));
    if (n.broken)
        log_ev(LOG_ERROR, "seal.broken", KV("purpose", c->purpose), KV_I64("count", n.broken));
    total->renewed += n.renewed;
    total->broken += n.broken;
    return TD_OK;
}

enum td_err secrets_renew(struct store *s, const struct seal *seal, struct errinfo *ei)
{
    struct sealed_count total = {0};
    for (size_t i = 0; i < TD_NITEMS(columns); i++)
        TD_TRY(renew_column(s, seal, columns[i], &total, ei));
    return total.broken == 0 ? sealed_forget(s, seal, ei) : TD_OK;
}
