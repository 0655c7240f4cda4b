/* Attestations that devices sent as an answer: verified outside any transaction, then heard. */
#include <stdio.h>

#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/posture/posture_int.h"
#include "mdm/store/attempts.h"

#define SERIAL_MAX 128
#define REPORT_ARENA ((size_t)16 << 20)

struct came {
    struct posture *p;
    char serial[SERIAL_MAX], txn[RNG_ID_SIZE];
    struct arena *a;
    struct span nonce, report;
    int64_t asked_at, now;
    const char *command, *facts;
    enum td_err verdict;
    struct errinfo why;
};

static enum td_err load_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct came *j = ctx;
    struct cur c;
    struct core_command cmd;
    TD_TRY(tx_row(tx, POSTURE_SQL(NONCE), SV_LIST(SV_TEXT(j->serial)), &c, ei));
    j->nonce = cur_span_dup(&c, 0, j->a);
    j->asked_at = cur_int(&c, 1);
    j->command = cur_dup(&c, 2, j->a);
    cur_end(&c);
    if (!j->nonce.p || !j->command)
        return err_set(ei, TD_NOMEM, "no memory for an attestation");
    enum td_err e = core_command_get(tx, j->serial, j->command, j->a, &cmd, ei);
    j->report = e == TD_OK ? cmd.result : (struct span){NULL, 0}; /* its time was over */
    return e == TD_NOTFOUND ? TD_OK : e;
}

static enum td_err verify(struct came *j, struct errinfo *ei)
{
    const struct posture_ops *ops = &j->p->conf.ops;
    struct plist *report;
    struct span chain[LIMIT_X5C_COUNT];
    size_t n;
    TD_TRY(plist_parse(j->report, j->a, &report, ei));
    TD_TRY(posture_facts_chain(report, j->a, chain, TD_NITEMS(chain), &n));
    return ops->attest(ops->ctx, j->serial, chain, n, j->nonce, j->a, &j->facts, ei);
}

/* It was made behind the question, so it is no older than that. */
static enum td_err hear(struct came *j, struct tx *tx, struct errinfo *ei)
{
    struct posture_obs obs[POSTURE_FACTS_MAX];
    struct posture_said said = {
        .serial = j->serial, .source = POSTURE_ATTESTED, .obs = obs, .now = j->now, .txn = j->txn};
    arena_auto a;
    arena_init(&a, POSTURE_ARENA);
    struct json *root;
    TD_TRY(json_parse(span_str(j->facts), &a, &root, ei));
    TD_TRY(posture_facts_evidence(root, j->asked_at, &a, obs, &said.n));
    TD_TRY(posture_hear(j->p, tx, &said, ei));
    return tx_exec(tx, POSTURE_SQL(NONCE_DROP), SV_LIST(SV_TEXT(j->serial)), NULL, ei);
}

/* A refused one is seen, and its question stays open: another answer may be better. */
static enum td_err hear_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct came *j = ctx;
    bool good = j->verdict == TD_OK;
    if (good)
        TD_TRY(hear(j, tx, ei));
    else
        TD_TRY(tx_exec(tx, POSTURE_SQL(NONCE_SEEN),
                       SV_LIST(SV_TEXT(j->serial), SV_TEXT(j->command)), NULL, ei));
    const struct attempt t = {.at = j->now,
                              .serial = j->serial,
                              .source = "posture",
                              .outcome = good ? "accepted" : "refused",
                              .reason = good || !j->why.reason ? "" : j->why.reason,
                              .detail = good ? "attestation verified" : j->why.msg};
    return attempt_add(tx, &t, ei);
}

/* A fault of ours leaves it for the next turn; what cannot be read ever is refused. */
static enum td_err one(struct came *j, struct errinfo *ei)
{
    struct store *store = j->p->conf.store;
    TD_TRY(store_read(store, load_job, j, ei));
    j->verdict = verify(j, &j->why);
    if (j->verdict != TD_OK && j->verdict != TD_FORBIDDEN && j->verdict != TD_PARSE) {
        *ei = j->why;
        return j->verdict;
    }
    rng_id(j->p->conf.rng, j->txn);
    return store_write(store, hear_job, j, ei);
}

void posture_attested_one(struct posture *p, const char *serial)
{
    arena_auto a;
    arena_init(&a, REPORT_ARENA);
    struct errinfo ei = {0};
    struct came j = {.p = p, .a = &a, .now = clock_now(p->conf.clock)};
    snprintf(j.serial, sizeof j.serial, "%s", serial);
    enum td_err e = one(&j, &ei);
    if (e != TD_OK)
        log_ev(LOG_WARN, "posture.attestation_failed", KV("serial", serial),
               KV("error", err_msg(&ei, e)));
    else if (j.verdict == TD_OK)
        log_ev(LOG_INFO, "posture.attested", KV("serial", serial));
    else
        log_ev(LOG_WARN, "posture.attestation_refused", KV("serial", serial),
               KV("reason", j.why.reason ? j.why.reason : ""),
               KV("detail", err_msg(&j.why, j.verdict)));
}
