/* Which issuing CAs were active: rows of the audit trail. */
#include <stdio.h>

#include "acme/ca/ca_int.h"
#include "mdm/base/log.h"
#include "mdm/store/audit.h"

static const struct store_stmt stmts[] = {
    {"ca.activated", "SELECT detail FROM audit WHERE subject = ?1 AND action = ?2 ORDER BY id DESC",
     "tt", "t"},
};

const struct store_stmts ca_active_stmts = {stmts, TD_NITEMS(stmts)};

struct active_job {
    const char *hex;
    int64_t now;
    char txn[RNG_ID_SIZE];
    bool known, told;
    char was[2 * CERT_SKI_SIZE + 1]; /* "" when this is the first one */
};

static enum td_err look(struct tx *tx, struct active_job *j, struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    j->known = false;
    j->was[0] = 0;
    TD_TRY(
        tx_query(tx, &stmts[0], SV_LIST(SV_TEXT(AUDIT_CA), SV_TEXT(AUDIT_CA_ACTIVATED)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        struct span hex = cur_span(&c, 0);
        if (!j->was[0])
            snprintf(j->was, sizeof j->was, "%.*s", (int)hex.n, (const char *)hex.p);
        j->known = j->known || span_eq_str(hex, j->hex);
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

/* Each node finds it: the first one to commit tells, the others run again and see its row. */
static enum td_err note(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct active_job *j = ctx;
    char id[32 + 2 * CERT_SKI_SIZE];
    j->told = false;
    TD_TRY(look(tx, j, ei));
    if (j->known)
        return TD_OK;
    TD_TRY(audit_add(tx, j->now, j->txn, "", AUDIT_CA_ACTIVATED, AUDIT_CA, j->hex, ei));
    if (!j->was[0])
        return TD_OK;
    snprintf(id, sizeof id, "ca-rotated-%s", j->hex);
    const struct outbox_event ev = {.type = OUTBOX_CA_ROTATED,
                                    .at = j->now,
                                    .id = id,
                                    .txn = j->txn,
                                    .data = {{"issuer", j->hex}, {"was", j->was}}};
    j->told = true;
    return outbox_add(tx, &ev, ei);
}

enum td_err ca_note_active(struct ca *ca, bool *ret_told, struct errinfo *ei)
{
    struct active_job j = {.hex = ca_issuer_at(ca, 0)->hex, .now = clock_now(ca->conf.clock)};
    rng_id(ca->conf.rng, j.txn);
    TD_TRY(store_write(ca->conf.store, note, &j, ei));
    if (j.told)
        log_ev(LOG_INFO, "ca.rotated", KV("issuer", j.hex), KV("was", j.was));
    if (ret_told)
        *ret_told = j.told;
    return TD_OK;
}
