#include "web/server/cleaners.h"

#include "acme/ca/clean.h"
#include "acme/ca/client_id.h"
#include "acme/server/acme.h"
#include "mdm/core/core.h"
#include "mdm/store/attempts.h"
#include "mdm/store/audit.h"
#include "profiles/enroll/enroll.h"
#include "web/auth/token.h"

static enum td_err waiting(struct tx *tx, struct clean_step *s, struct errinfo *ei)
{
    TD_TRY(core_expire_commands(tx, s->now, s->before, s->max, &s->gone, ei));
    s->more = s->gone == (int64_t)s->max;
    return TD_OK;
}

#define SWEEP(name, fn)                                                                            \
    static enum td_err name(struct tx *tx, struct clean_step *s, struct errinfo *ei)               \
    {                                                                                              \
        return fn(tx, s->before, s->max, &s->pos, &s->gone, &s->more, ei);                         \
    }
SWEEP(removed, core_clean_removed)
SWEEP(leaving, core_clean_leaving)
SWEEP(accounts, acme_clean_accounts)
SWEEP(evidence, acme_clean_evidence)
SWEEP(certificates, ca_clean)

#define KEEP(member) offsetof(struct settings, member)

/* Ordered: what a row waits for goes in the same round before it. */
const struct cleaner cleaners[] = {
    {"waiting", "commands", KEEP(keep_waiting), 0, METRIC_CLEANED_WAITING, .step = waiting},
    {"commands", "commands", KEEP(keep_commands), 0, METRIC_CLEANED_COMMANDS,
     .rows = core_clean_commands},
    {"removed", "enrollments", KEEP(keep_removed), 0, METRIC_CLEANED_REMOVED, .step = removed},
    {"leaving", "enrollments", KEEP(keep_leaving), 0, METRIC_CLEANED_LEAVING, .step = leaving},
    {"orders", "acme_orders", KEEP(keep_orders), 0, METRIC_CLEANED_ORDERS,
     .rows = acme_clean_orders},
    {"accounts", "acme_accounts", KEEP(keep_orders), 0, METRIC_CLEANED_ACCOUNTS, .step = accounts},
    /* an order that goes on needs its identifier */
    {"client_ids", "client_ids", KEEP(keep_client_ids), KEEP(acme_order_ttl),
     METRIC_CLEANED_CLIENT_IDS, .rows = client_id_clean},
    {"certificates", "certificates", KEEP(keep_certificates), 0, METRIC_CLEANED_CERTIFICATES,
     .step = certificates},
    /* nor does the evidence of an order have a certificate yet */
    {"evidence", "evidence", KEEP(keep_evidence), KEEP(acme_order_ttl), METRIC_CLEANED_EVIDENCE,
     .step = evidence},
    {"invitations", "invitations", KEEP(keep_invitations), 0, METRIC_CLEANED_INVITATIONS,
     .rows = enroll_clean},
    {"attempts", "attempts", KEEP(keep_attempts), 0, METRIC_CLEANED_ATTEMPTS,
     .rows = attempt_clean},
    {"audit", "audit", KEEP(keep_audit), 0, METRIC_CLEANED_AUDIT, .rows = audit_clean},
    {"tokens", "api_tokens", KEEP(keep_tokens), 0, METRIC_CLEANED_TOKENS, .rows = token_clean},
};
const size_t ncleaners = TD_NITEMS(cleaners);

static int64_t setting(const struct settings *conf, size_t offset)
{
    int64_t v;
    memcpy(&v, (const char *)conf + offset, sizeof v);
    return v;
}

int64_t cleaner_before(const struct cleaner *c, const struct settings *conf, int64_t now)
{
    int64_t keep = setting(conf, c->keep);
    int64_t least = c->no_less ? setting(conf, c->no_less) : 0;
    return now - (keep > least ? keep : least);
}

struct job {
    const struct cleaner *c;
    struct clean_step from, step;
};

static enum td_err step_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    j->step = j->from; /* of a run that was undone */
    if (j->c->step)
        return j->c->step(tx, &j->step, ei);
    TD_TRY(j->c->rows(tx, j->step.before, j->step.max, &j->step.gone, ei));
    j->step.more = j->step.gone == (int64_t)j->step.max;
    return TD_OK;
}

enum td_err cleaner_step(const struct cleaner *c, struct store *store, struct clean_step *s,
                         struct errinfo *ei)
{
    struct job j = {.c = c, .from = *s};
    TD_TRY(store_write(store, step_job, &j, ei));
    *s = j.step;
    return TD_OK;
}
