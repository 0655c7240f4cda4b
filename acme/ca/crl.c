#include "acme/ca/crl.h"

#include <stdlib.h>

#include "acme/ca/ca_int.h"
#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/metrics.h"

#define TRIES 4         /* rounds in which other nodes are faster, or the counter moves on */
#define WAITERS_MAX 16  /* of the workers: a signer that hangs must not take them all */
#define NUMBER_TRIES 20 /* 2^20 numbers that were signed and never stored */
#define DER_MAX ((size_t)16 * 1024 * 1024)
#define SIG_ARENA 65536
#define ENTRIES_STEP 1024

enum {
    STMT_CHANGES,
    STMT_CHANGES_CA,
    STMT_CHANGES_ALL,
    STMT_META,
    STMT_DER,
    STMT_LIST,
    STMT_LIST_CA,
    STMT_PUT,
    STMT_MAX
};

/* A sum over no rows is NULL. */
#define SUM "COALESCE(CAST(SUM(changes) AS BIGINT), 0)"

static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_CHANGES] = {"ca.crl_changes",
                      "SELECT " SUM " FROM crl_changes WHERE issuer = ?1 AND shard = ?2", "bi",
                      "i"},
    [STMT_CHANGES_CA] = {"ca.crl_changes_ca", "SELECT " SUM " FROM crl_changes WHERE issuer = ?1",
                         "b", "i"},
    [STMT_CHANGES_ALL] = {"ca.crl_changes_all", "SELECT " SUM " FROM crl_changes", "", "i"},
    [STMT_META] = {"ca.crl_meta",
                   "SELECT number, changes, this_update, next_update FROM crls "
                   "WHERE issuer = ?1 AND shard = ?2",
                   "bi", "iiii"},
    [STMT_DER] = {"ca.crl_der",
                  "SELECT der FROM crls WHERE issuer = ?1 AND shard = ?2 AND number = ?3", "bii",
                  "b"},
    [STMT_LIST] = {"ca.crl_list",
                   "SELECT serial, revoked_at, reason FROM certificates WHERE issuer = ?1 AND "
                   "not_after >= ?2 AND status <> 0 AND shard = ?3",
                   "bii", "bII"},
    /* + 0 keeps this off the index of all certificates of a CA by their end */
    [STMT_LIST_CA] = {"ca.crl_list_ca",
                      "SELECT serial, revoked_at, reason FROM certificates WHERE issuer = ?1 AND "
                      "not_after + 0 >= ?2 AND status <> 0",
                      "bi", "bII"},
    /* never an older list over a newer one: another node may have been faster */
    [STMT_PUT] = {"ca.crl_put",
                  "INSERT INTO crls AS c (issuer, shard, number, changes, this_update, "
                  "next_update, der) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
                  "ON CONFLICT (issuer, shard) DO UPDATE SET number = excluded.number, "
                  "changes = excluded.changes, this_update = excluded.this_update, "
                  "next_update = excluded.next_update, der = excluded.der "
                  "WHERE c.number < excluded.number AND c.changes <= excluded.changes",
                  "biiiiib", ""},
};

const struct store_stmts ca_crl_stmts = {stmts, STMT_MAX};

/* One CRL at work: whose, and what is known of it. */
struct work {
    struct ca *ca;
    const struct ca_issuer *by;
    int shard;
    int64_t now;
    bool there; /* the last one, when there is one */
    struct ca_crl last;
    int64_t last_changes, changes;
    struct crl_entry *entries;
    size_t n, cap;
    struct span der;
};

/* --- what there is --------------------------------------------------------------------------- */

static enum td_err read_int(struct tx *tx, const struct store_stmt *st, const struct sval *args,
                            size_t n, int64_t *ret, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, st, args, n, &c, ei));
    *ret = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static enum td_err look(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct work *w = ctx;
    struct cur c;
    const struct sval args[] = {SV_BLOB(SPAN_ARR(w->by->id)), SV_INT(w->shard)};
    if (w->shard == CA_CRL_COMPLETE)
        TD_TRY(read_int(tx, &stmts[STMT_CHANGES_CA], args, 1, &w->changes, ei));
    else
        TD_TRY(read_int(tx, &stmts[STMT_CHANGES], args, 2, &w->changes, ei));
    enum td_err e = tx_row(tx, &stmts[STMT_META], args, 2, &c, ei);
    w->there = e == TD_OK;
    w->last = (struct ca_crl){0};
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    w->last.number = cur_int(&c, 0);
    w->last_changes = cur_int(&c, 1);
    w->last.this_update = cur_int(&c, 2);
    w->last.next_update = cur_int(&c, 3);
    cur_end(&c);
    return TD_OK;
}

static bool complete(const struct work *w)
{
    return w->there && w->last_changes == w->changes;
}

static bool fresh(const struct work *w)
{
    return complete(w) && w->now < w->last.this_update + CA_CRL_REFRESH;
}

/* --- a new one ------------------------------------------------------------------------------- */

/* RFC 5280 section 3.3: an entry leaves after it was on a regularly scheduled CRL beyond its
 * certificate's end. It stays for a refresh's time and for the first list made behind it. */
static int64_t expired_before(const struct work *w)
{
    int64_t before = w->now - CA_CRL_REFRESH;
    return w->there && w->last.this_update < before ? w->last.this_update : before;
}

static enum td_err add_entry(struct work *w, const struct cur *c, struct errinfo *ei)
{
    if (w->n == CRL_ENTRIES_MAX) {
        enum td_err e = err_reason(ei, TD_STATE, "crl-size",
                                   "the CRL would list over %d certificates", CRL_ENTRIES_MAX);
        if (ei)
            ei->http = 503;
        return e;
    }
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : ENTRIES_STEP;
        struct crl_entry *wider = realloc(w->entries, cap * sizeof *wider);
        if (!wider)
            return err_set(ei, TD_NOMEM, "no memory for a CRL");
        w->entries = wider;
        w->cap = cap;
    }
    int64_t at = cur_is_null(c, 1) ? w->now : cur_int(c, 1);
    int reason = cur_is_null(c, 2) ? CRL_REASON_NONE : (int)cur_int(c, 2);
    /* a node's clock may be ahead of another's: never a time to come */
    if (!crl_entry_set(&w->entries[w->n++], cur_span(c, 0), at > w->now ? w->now : at, reason))
        return err_set(ei, TD_DB, "a certificate's serial number is damaged");
    return TD_OK;
}

/* The entries and the counter they stand for, from one snapshot. */
static enum td_err read_entries(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct work *w = ctx;
    struct cur c;
    w->n = 0;
    TD_TRY(look(tx, w, ei));
    const struct sval args[] = {SV_BLOB(SPAN_ARR(w->by->id)), SV_INT(expired_before(w)),
                                SV_INT(w->shard)};
    if (w->shard == CA_CRL_COMPLETE)
        TD_TRY(tx_query(tx, &stmts[STMT_LIST_CA], args, 2, &c, ei));
    else
        TD_TRY(tx_query(tx, &stmts[STMT_LIST], args, 3, &c, ei));
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        e = add_entry(w, &c, ei);
        if (e != TD_OK)
            break;
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

/* As far back as clocks may be behind, but not before an entry or the last list. */
static int64_t this_update(const struct work *w)
{
    int64_t at = w->now - CA_CRL_BACKDATE;
    for (size_t i = 0; i < w->n; i++)
        if (w->entries[i].revoked_at > at)
            at = w->entries[i].revoked_at;
    if (w->there && w->last.this_update > at && w->last.this_update <= w->now)
        at = w->last.this_update;
    return at;
}

/* The signer takes no number twice; one that was signed and then not stored is passed over. */
static enum td_err sign(struct work *w, struct crl_spec *spec, struct arena *a, struct span *ret,
                        struct errinfo *ei)
{
    enum td_err e = TD_STATE;
    for (unsigned i = 0; i < NUMBER_TRIES; i++) {
        spec->number = (uint64_t)w->last.number + (UINT64_C(1) << i);
        struct errinfo why = {0};
        e = signer_crl(w->ca->conf.signer, w->by->id, w->shard, spec, a, ret, &why);
        bool used = e != TD_OK && why.reason && strcmp(why.reason, "crl-number") == 0;
        if (e != TD_OK && ei)
            *ei = why;
        if (!used)
            break;
    }
    return e;
}

static enum td_err put(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct work *w = ctx;
    return tx_exec(tx, &stmts[STMT_PUT],
                   SV_LIST(SV_BLOB(SPAN_ARR(w->by->id)), SV_INT(w->shard), SV_INT(w->last.number),
                           SV_INT(w->last_changes), SV_INT(w->last.this_update),
                           SV_INT(w->last.next_update), SV_BLOB(w->der)),
                   NULL, ei);
}

static enum td_err make_der(struct work *w, struct crl_spec *spec, struct buf *der,
                            struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, SIG_ARENA);
    buf_auto tbs;
    buf_init(&tbs, DER_MAX);
    struct span sig;
    TD_TRY(sign(w, spec, &a, &sig, ei));
    TD_TRY(crl_tbs(spec, w->by->cert, &tbs, ei));
    return crl_finish(buf_view(&tbs), sig, w->by->cert, der, ei);
}

static enum td_err make(struct work *w, struct errinfo *ei)
{
    char uri[SIGNER_MSG_URI_SIZE];
    TD_TRY(store_read(w->ca->conf.store, read_entries, w, ei));
    if (fresh(w)) /* another node's, meanwhile */
        return TD_OK;
    crl_sort(w->entries, w->n);
    struct crl_spec spec = {.this_update = this_update(w), .entries = w->entries, .n = w->n};
    spec.next_update = spec.this_update + CA_CRL_LIFE;
    if (w->shard != CA_CRL_COMPLETE) {
        if (!signer_msg_crl_uri(span_str(w->ca->crl_url), w->by->hex, (unsigned)w->shard, uri))
            return err_set(ei, TD_INTERNAL, "the CRL's address is too long");
        spec.uri = uri;
    }
    buf_auto der;
    buf_init(&der, DER_MAX);
    TD_TRY(make_der(w, &spec, &der, ei));
    metrics_add(METRIC_CRLS_SIGNED, 1);
    w->last = (struct ca_crl){.number = (int64_t)spec.number,
                              .this_update = spec.this_update,
                              .next_update = spec.next_update};
    w->last_changes = w->changes;
    w->der = buf_view(&der);
    enum td_err e = store_write(w->ca->conf.store, put, w, ei);
    w->der = (struct span){NULL, 0};
    return e;
}

/* Until the list that is stored is of this moment; alone on this node. */
static enum td_err renew_alone(struct work *w, struct errinfo *ei)
{
    enum td_err e = TD_OK;
    pthread_mutex_lock(&w->ca->crl_mu);
    for (int i = 0; i < TRIES && e == TD_OK; i++) {
        e = store_read(w->ca->conf.store, look, w, ei);
        if (e != TD_OK || fresh(w))
            break;
        e = make(w, ei);
    }
    if (e == TD_OK)
        e = store_read(w->ca->conf.store, look, w, ei);
    pthread_mutex_unlock(&w->ca->crl_mu);
    free(w->entries);
    w->entries = NULL;
    return e;
}

static enum td_err renew(struct work *w, struct errinfo *ei)
{
    enum td_err e = TD_BUSY;
    if (atomic_fetch_add(&w->ca->crl_waiting, 1) < WAITERS_MAX)
        e = renew_alone(w, ei);
    else
        e = err_set(ei, TD_BUSY, "too many requests wait for a CRL");
    atomic_fetch_sub(&w->ca->crl_waiting, 1);
    return e;
}

/* --- what is asked for ----------------------------------------------------------------------- */

struct fetch {
    const struct work *w;
    struct arena *a;
    struct span der;
};

static enum td_err read_der(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct fetch *f = ctx;
    struct cur c;
    TD_TRY(tx_row(
        tx, &stmts[STMT_DER],
        SV_LIST(SV_BLOB(SPAN_ARR(f->w->by->id)), SV_INT(f->w->shard), SV_INT(f->w->last.number)),
        &c, ei));
    f->der = cur_span_dup(&c, 0, f->a);
    cur_end(&c);
    return f->der.p ? TD_OK : err_set(ei, TD_NOMEM, "no memory for a CRL");
}

static enum td_err current(struct work *w, struct errinfo *ei)
{
    TD_TRY(store_read(w->ca->conf.store, look, w, ei));
    if (fresh(w))
        return TD_OK;
    struct work old = *w;
    enum td_err e = renew(w, ei);
    metrics_add(METRIC_CRL_FAILED, e != TD_OK);
    bool away = e == TD_BUSY || e == TD_TIMEOUT;
    if (away && complete(&old) && w->now < old.last.next_update) {
        *w = old; /* nothing is missing in it: it is only a day old */
        return TD_OK;
    }
    return e;
}

enum td_err ca_crl_get(struct ca *ca, size_t i, int shard, bool with_der, struct arena *a,
                       struct ca_crl *ret, struct errinfo *ei)
{
    bool part = shard != CA_CRL_COMPLETE;
    if (i >= ca_issuing_n(ca) ||
        (part && (shard < 0 || !*ca->crl_url || (unsigned)shard >= atomic_load(&ca->crl_shards))))
        return err_set(ei, TD_NOTFOUND, "no such CRL");
    struct work w = {.ca = ca, .by = ca_issuer_at(ca, i), .shard = shard};
    if (ca_issuer_gone(ca, w.by))
        return err_set(ei, TD_NOTFOUND, "no such CRL any more");
    struct fetch f = {.w = &w, .a = a};
    enum td_err e = TD_NOTFOUND;
    for (int k = 0; k < TRIES && e == TD_NOTFOUND; k++) {
        w.now = clock_now(ca->conf.clock);
        TD_TRY(current(&w, ei));
        /* another node may replace it between the two looks */
        e = with_der ? store_read(ca->conf.store, read_der, &f, ei) : TD_OK;
    }
    if (e == TD_NOTFOUND)
        return err_set(ei, TD_BUSY, "the CRL changes too fast");
    TD_TRY(e);
    *ret = w.last;
    ret->der = f.der;
    if (i == 0) {
        metrics_set(METRIC_CRL_MADE_AT, ret->this_update);
        metrics_set(METRIC_CRL_NEXT, ret->next_update);
    }
    return TD_OK;
}

enum td_err ca_crl_bundle(struct ca *ca, struct arena *a, struct buf *b, struct errinfo *ei)
{
    for (size_t i = 0; i < ca_issuing_n(ca); i++) {
        struct ca_crl crl = {0};
        if (ca_issuer_gone(ca, ca_issuer_at(ca, i)))
            continue;
        TD_TRY(ca_crl_get(ca, i, CA_CRL_COMPLETE, true, a, &crl, ei));
        TD_TRY(crl_to_pem(crl.der, b));
    }
    if (ca->root_crl.n)
        TD_TRY(crl_to_pem(buf_view(&ca->root_crl), b));
    return b->err;
}

static enum td_err read_changes(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return read_int(tx, &stmts[STMT_CHANGES_ALL], NULL, 0, ctx, ei);
}

enum td_err ca_crl_changes(struct ca *ca, int64_t *ret, struct errinfo *ei)
{
    return store_read(ca->conf.store, read_changes, ret, ei);
}
