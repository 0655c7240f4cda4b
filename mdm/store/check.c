#include "mdm/store/check.h"

#include <stdlib.h>

#include "mdm/base/hex.h"
#include "mdm/store/tool.h"

#define WHAT_MAX 200

struct run {
    const struct check_conf *conf;
    const struct store_stmt *stmts; /* of check_rules, in an array of their own */
    size_t rules, findings;
};

/* A key as people read it: text and numbers as they are, bytes in hexadecimal. */
static void show(const struct cur *c, const char *out, char what[static WHAT_MAX])
{
    struct span s;
    switch (out[0]) {
    case 'i':
        snprintf(what, WHAT_MAX, "%lld", (long long)cur_int(c, 0));
        break;
    case 'b':
        s = span_sub(cur_span(c, 0), 0, (WHAT_MAX - 1) / 2);
        hex_enc(s, what);
        break;
    default:
        s = cur_span(c, 0);
        snprintf(what, WHAT_MAX, "%.*s", (int)(s.n < WHAT_MAX ? s.n : WHAT_MAX - 1),
                 (const char *)s.p);
    }
}

static enum td_err rule_run(struct tx *tx, struct run *r, const char *rule, const char *doc,
                            const struct store_stmt *st, struct errinfo *ei)
{
    struct sval limit = SV_INT((int64_t)r->conf->most + 1);
    struct cur c;
    char what[WHAT_MAX];
    enum td_err e;
    size_t n = 0;
    r->rules++;
    TD_TRY(tx_query(tx, st, &limit, strlen(st->in), &c, ei));
    while (n <= r->conf->most && (e = cur_next(&c, ei)) == TD_OK) {
        show(&c, st->out, what);
        struct check_finding f = {rule, doc, what, n == r->conf->most};
        r->conf->fn(r->conf->ctx, &f);
        r->findings++;
        n++;
    }
    cur_end(&c);
    return n > r->conf->most || e == TD_NOTFOUND ? TD_OK : e;
}

static enum td_err check_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct run *r = ctx;
    struct migrate_state st;
    TD_TRY(migrate_look(tx, store_migrations, store_nmigrations, &st, ei));
    if (st.copy[0])
        return err_set(ei, TD_STATE, "the database is an unfinished copy");
    if (st.applied < store_nmigrations)
        return err_set(ei, TD_STATE,
                       "the database is at schema version %zu, this program checks version %zu: "
                       "start it once, or use the program that wrote it",
                       st.applied, store_nmigrations);
    const struct store_stmts *own = &tx->ops->admin->checks;
    for (size_t i = 0; i < own->n; i++)
        TD_TRY(rule_run(tx, r, own->stmts[i].name, "found by the database engine", &own->stmts[i],
                        ei));
    for (size_t i = 0; i < check_nrules; i++)
        TD_TRY(rule_run(tx, r, check_rules[i].name, check_rules[i].doc, &r->stmts[i], ei));
    return TD_OK;
}

/* --- indexes --------------------------------------------------------------------------------- */

#define INDEX_SIZE 160

struct index_job {
    const struct store_stmt *stmts;
    char name[INDEX_SIZE]; /* the one that is looked at; "" before the first */
    char cannot[300];
};

static enum td_err text_of(struct tx *tx, const struct store_stmt *st, const char *arg, char *out,
                           size_t n, struct errinfo *ei)
{
    const struct sval args[] = {SV_TEXT(arg)};
    struct cur c;
    TD_TRY(tx_row(tx, st, args, strlen(st->in), &c, ei));
    struct span s = cur_span(&c, 0);
    snprintf(out, n, "%.*s", (int)s.n, (const char *)s.p);
    cur_end(&c);
    return TD_OK;
}

static enum td_err cannot_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct index_job *j = ctx;
    return text_of(tx, &j->stmts[DEEP_CANNOT], "", j->cannot, sizeof j->cannot, ei);
}

static enum td_err next_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct index_job *j = ctx;
    return text_of(tx, &j->stmts[DEEP_NEXT], j->name, j->name, sizeof j->name, ei);
}

static enum td_err look_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct index_job *j = ctx;
    char nothing[8];
    return text_of(tx, &j->stmts[DEEP_LOOK], j->name, nothing, sizeof nothing, ei);
}

static void note(const struct run *r, const char *what)
{
    if (r->conf->note)
        r->conf->note(r->conf->ctx, what);
}

/* The next index; TD_NOTFOUND behind the last. *n counts the damaged ones. */
static enum td_err index_look(struct tool *t, struct run *r, struct index_job *j, size_t *n,
                              struct errinfo *ei)
{
    TD_TRY(tool_read(t, next_job, j, ei));
    struct errinfo why = {0};
    enum td_err e = tool_read(t, look_job, j, &why);
    if (e == TD_OK)
        return TD_OK;
    if (e == TD_BUSY || e == TD_TIMEOUT) {
        char text[INDEX_SIZE + sizeof why.msg];
        snprintf(text, sizeof text, "%s: %s", j->name, err_msg(&why, e));
        note(r, text);
        return TD_OK;
    }
    if (e != TD_DB || !t->ops->conn_alive(t->conn)) {
        if (ei)
            *ei = why;
        return e;
    }
    struct check_finding f = {"index-damaged",
                              "found by the database engine: REINDEX makes it anew",
                              err_msg(&why, e), *n == r->conf->most};
    if (++*n <= (size_t)r->conf->most + 1) {
        r->conf->fn(r->conf->ctx, &f);
        r->findings++;
    }
    return TD_OK;
}

static enum td_err indexes_look(struct tool *t, struct run *r, struct errinfo *ei)
{
    struct index_job j = {.stmts = t->ops->admin->deep.stmts};
    if (t->ops->admin->deep.n == 0)
        return TD_OK;
    TD_TRY(tool_read(t, cannot_job, &j, ei));
    if (j.cannot[0]) {
        note(r, j.cannot);
        return TD_OK;
    }
    r->rules++;
    size_t damaged = 0;
    enum td_err e;
    do
        e = index_look(t, r, &j, &damaged, ei);
    while (e == TD_OK);
    return e == TD_NOTFOUND ? TD_OK : e;
}

/* --- the whole ------------------------------------------------------------------------------- */

enum td_err store_check(const struct store_conf *conf, const struct check_conf *check,
                        size_t *ret_rules, size_t *ret_findings, struct errinfo *ei)
{
    struct store_conf look = *conf;
    look.use = STORE_NOLOCK;
    struct store_stmt *stmts = calloc(check_nrules, sizeof *stmts);
    if (!stmts)
        return err_set(ei, TD_NOMEM, "the rules");
    for (size_t i = 0; i < check_nrules; i++)
        stmts[i] = check_rules[i].stmt;
    struct run r = {.conf = check, .stmts = stmts};
    struct tool t;
    enum td_err e = tool_open(&t, &look, CONN_CHECK, stmts, check_nrules, ei);
    if (e == TD_OK)
        e = tool_read(&t, check_job, &r, ei);
    if (e == TD_OK)
        e = indexes_look(&t, &r, ei);
    tool_close(&t);
    free(stmts);
    TD_TRY(e);
    *ret_rules = r.rules;
    *ret_findings = r.findings;
    return TD_OK;
}
