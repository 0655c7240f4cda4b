#include "web/server/cleaners.h"

#include "acme/ca/clean.h"
#include "acme/ca/client_id.h"
#include "acme/server/acme.h"
#include "acme/server/nonce.h"
#include "mdm/core/core.h"
#include "mdm/store/attempts.h"
#include "mdm/store/audit.h"
#include "profiles/enroll/enroll.h"
#include "web/auth/token.h"

#define KEEP(member) offsetof(struct settings, member)

/* Ordered: what a row waits for goes in the same round before it. */
const struct cleaner cleaners[] = {
    {"waiting", "commands", KEEP(keep_waiting), 0, METRIC_CLEANED_WAITING, core_clean_waiting},
    {"commands", "commands", KEEP(keep_commands), 0, METRIC_CLEANED_COMMANDS, core_clean_commands},
    {"removed", "enrollments", KEEP(keep_removed), 0, METRIC_CLEANED_REMOVED, core_clean_removed},
    {"leaving", "enrollments", KEEP(keep_leaving), 0, METRIC_CLEANED_LEAVING, core_clean_leaving},
    {"orders", "acme_orders", KEEP(keep_orders), 0, METRIC_CLEANED_ORDERS, acme_clean_orders},
    {"accounts", "acme_accounts", KEEP(keep_orders), 0, METRIC_CLEANED_ACCOUNTS,
     acme_clean_accounts},
    {"eab_keys", "eab_keys", KEEP(keep_orders), 0, METRIC_CLEANED_EAB_KEYS, acme_clean_eab},
    /* an order that goes on needs its identifier */
    {"client_ids", "client_ids", KEEP(keep_client_ids), KEEP(acme_order_ttl),
     METRIC_CLEANED_CLIENT_IDS, client_id_clean},
    {"certificates", "certificates", KEEP(keep_certificates), 0, METRIC_CLEANED_CERTIFICATES,
     ca_clean},
    /* nor does the evidence of an order have a certificate yet */
    {"evidence", "evidence", KEEP(keep_evidence), KEEP(acme_order_ttl), METRIC_CLEANED_EVIDENCE,
     acme_clean_evidence},
    {"nonces", "acme_nonces", KEEP(acme_nonce_ttl), 0, METRIC_CLEANED_NONCES, nonce_clean},
    {"invitations", "invitations", KEEP(keep_invitations), 0, METRIC_CLEANED_INVITATIONS,
     enroll_clean},
    {"attempts", "attempts", KEEP(keep_attempts), 0, METRIC_CLEANED_ATTEMPTS, attempt_clean},
    {"audit", "audit", KEEP(keep_audit), 0, METRIC_CLEANED_AUDIT, audit_clean},
    {"events", "outbox", KEEP(keep_events), 0, METRIC_CLEANED_EVENTS, outbox_clean},
    {"tokens", "api_tokens", KEEP(keep_tokens), 0, METRIC_CLEANED_TOKENS, token_clean},
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
    struct sweep from, step;
};

static enum td_err step_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    j->step = j->from; /* of a run that was undone */
    return j->c->step(tx, &j->step, ei);
}

enum td_err cleaner_step(const struct cleaner *c, struct store *store, struct sweep *s,
                         struct errinfo *ei)
{
    struct job j = {.c = c, .from = *s};
    TD_TRY(store_write(store, step_job, &j, ei));
    *s = j.step;
    return TD_OK;
}
