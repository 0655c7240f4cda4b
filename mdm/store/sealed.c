#include "mdm/store/sealed.h"

#include "mdm/base/hex.h"

#define PAGE 100

enum { STMT_KEYS, STMT_ADD, STMT_DROP, STMT_MAX };

static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_KEYS] = {"seal.keys", "SELECT id FROM seal_keys", "", "b"},
    [STMT_ADD] = {"seal.key_add",
                  "INSERT INTO seal_keys (id, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING", "bi",
                  ""},
    [STMT_DROP] = {"seal.key_drop", "DELETE FROM seal_keys WHERE id = ?1", "b", ""},
};

const struct store_stmts sealed_stmts = {stmts, STMT_MAX};

/* --- the keys -------------------------------------------------------------------------------- */

struct known {
    const struct seal *seal; /* NULL: there is no file */
    const char *path;
    int64_t now;
};

/* Each key of the database must be in the file. */
static enum td_err check_keys(struct tx *tx, const struct known *k, struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    TD_TRY(tx_query(tx, &stmts[STMT_KEYS], NULL, 0, &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        struct span id = cur_span(&c, 0);
        if (k->seal && seal_has_key(k->seal, id))
            continue;
        char hex[2 * SEAL_ID + 1];
        hex_enc(span_sub(id, 0, SEAL_ID), hex);
        e = err_set(ei, TD_STATE,
                    "secrets in the database are sealed with key %s, which %.80s lacks: copy the "
                    "file from another node or the backup",
                    hex, k->path);
        break;
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

static enum td_err look_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return check_keys(tx, ctx, ei);
}

static enum td_err note_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct known *k = ctx;
    TD_TRY(check_keys(tx, k, ei));
    return tx_exec(tx, &stmts[STMT_ADD], SV_LIST(SV_BLOB(seal_key_id(k->seal, 0)), SV_INT(k->now)),
                   NULL, ei);
}

/* A file that is gone must not be replaced by one that opens nothing. */
static enum td_err make_file(struct store *s, struct known *k, struct errinfo *ei)
{
    TD_TRY(store_read(s, look_job, k, ei));
    enum td_err e = seal_create(k->path, &rng_system, ei);
    return e == TD_EXISTS ? TD_OK : e; /* another process was faster */
}

enum td_err sealed_open(struct store *s, const char *path, const struct clock *clock,
                        struct seal **ret, struct errinfo *ei)
{
    seal_auto *seal = NULL;
    struct known k = {.path = path, .now = clock_now(clock)};
    enum td_err e = seal_load(path, &seal, ei);
    if (e == TD_NOTFOUND) {
        TD_TRY(make_file(s, &k, ei));
        e = seal_load(path, &seal, ei);
    }
    TD_TRY(e);
    k.seal = seal;
    TD_TRY(store_write(s, note_job, &k, ei));
    *ret = seal;
    seal = NULL;
    return TD_OK;
}

static enum td_err forget_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct seal *seal = ctx;
    for (size_t i = 1; seal_key_id(seal, i).n; i++)
        TD_TRY(tx_exec(tx, &stmts[STMT_DROP], SV_LIST(SV_BLOB(seal_key_id(seal, i))), NULL, ei));
    return TD_OK;
}

enum td_err sealed_forget(struct store *s, const struct seal *seal, struct errinfo *ei)
{
    union { /* the job reads alone */
        const struct seal *in;
        struct seal *out;
    } ctx = {.in = seal};
    return store_write(s, forget_job, ctx.out, ei);
}

/* --- the secrets ----------------------------------------------------------------------------- */

struct row {
    const char *id;
    struct span old, fresh;
};

struct page {
    const struct sealed_column *c;
    struct arena *a;
    const char *after;
    struct row rows[PAGE];
    size_t n;
};

static enum td_err page_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct page *p = ctx;
    struct cur c;
    enum td_err e;
    p->n = 0;
    TD_TRY(tx_query(tx, p->c->page, SV_LIST(SV_TEXT(p->after), SV_INT(PAGE)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && p->n < PAGE) {
        struct row r = {.id = cur_dup(&c, 0, p->a), .old = cur_span_dup(&c, 1, p->a)};
        if (!r.id || (!r.old.p && cur_span(&c, 1).n)) {
            cur_end(&c);
            return err_set(ei, TD_NOMEM, "sealed secrets");
        }
        p->rows[p->n++] = r;
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

/* TD_DB: it does not open. */
static enum td_err renew_row(const struct seal *seal, const struct sealed_column *c,
                             struct rng *rng, struct row *r, struct arena *a, struct errinfo *ei)
{
    const struct seal_place at = {c->purpose, span_str(r->id)};
    if (c->clear && r->old.n == c->clear)
        return seal_wrap(seal, &at, r->old, rng, a, &r->fresh, ei);
    if (seal_is_current(seal, r->old))
        return TD_OK;
    secret_auto plain = {NULL, 0};
    TD_TRY(seal_open(seal, &at, r->old, &plain, ei));
    return seal_wrap(seal, &at, span_of(plain.p, plain.n), rng, a, &r->fresh, ei);
}

static enum td_err put_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct page *p = ctx;
    for (size_t i = 0; i < p->n; i++) {
        const struct row *r = &p->rows[i];
        if (r->fresh.n)
            TD_TRY(tx_exec(tx, p->c->put,
                           SV_LIST(SV_TEXT(r->id), SV_BLOB(r->old), SV_BLOB(r->fresh)), NULL, ei));
    }
    return TD_OK;
}

static enum td_err renew_page(struct store *s, const struct seal *seal, struct page *p,
                              struct rng *rng, struct sealed_count *count, struct errinfo *ei)
{
    int64_t renewed = 0;
    for (size_t i = 0; i < p->n; i++) {
        enum td_err e = renew_row(seal, p->c, rng, &p->rows[i], p->a, ei);
        if (e != TD_OK && e != TD_DB)
            return e;
        count->broken += e == TD_DB;
        renewed += p->rows[i].fresh.n != 0;
    }
    count->renewed += renewed;
    return renewed ? store_write(s, put_job, p, ei) : TD_OK;
}

enum td_err sealed_renew(struct store *s, const struct seal *seal, const struct sealed_column *c,
                         struct rng *rng, struct sealed_count *count, struct errinfo *ei)
{
    char after[SEAL_ROW_MAX + 1] = "";
    for (;;) {
        arena_auto a;
        arena_init(&a, (size_t)4 << 20);
        struct page p = {.c = c, .a = &a, .after = after};
        TD_TRY(store_read(s, page_job, &p, ei));
        TD_TRY(renew_page(s, seal, &p, rng, count, ei));
        if (p.n < PAGE)
            return TD_OK;
        size_t n = strlen(p.rows[p.n - 1].id);
        if (n >= sizeof after)
            return err_set(ei, TD_DB, "the key of a sealed secret's row is too long");
        memcpy(after, p.rows[p.n - 1].id, n + 1);
    }
}
