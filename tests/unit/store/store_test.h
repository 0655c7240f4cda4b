/* What the store's tests share: a directory of their own, a table of their own, short forms. */
#ifndef TD_TESTS_STORE_TEST_H
#define TD_TESTS_STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../engine.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/store_int.h"

#define T_DDL                                                                                      \
    "-- a table of BIGINT, @BLOB@ and @ID@\n"                                                      \
    "CREATE TABLE t (\n"                                                                           \
    "    id @ID@,\n"                                                                               \
    "    k BIGINT NOT NULL UNIQUE,\n"                                                              \
    "    txt TEXT,\n"                                                                              \
    "    bin @BLOB@\n"                                                                             \
    ");\n"

static const char t_ddl[] = T_DDL;

enum {
    T_INS,
    T_GET,
    T_COUNT,
    T_ALL,
    T_DEL,
    T_ROLLBACK,
    T_PAGES,
    T_CHECK,
    T_RETURNING,
    T_UPSERT,
    T_MAX
};

static struct store_stmt t_stmts[T_MAX] = {
    [T_INS] = {"t.ins", "INSERT INTO t (k, txt, bin) VALUES (?1, ?2, ?3)", "iTB", ""},
    [T_GET] = {"t.get", "SELECT k, txt, bin FROM t WHERE k = ?1", "i", "iTB"},
    [T_COUNT] = {"t.count", "SELECT count(*) FROM t", "", "i"},
    [T_ALL] = {"t.all", "SELECT k FROM t WHERE k >= ?1 ORDER BY k", "i", "i"},
    [T_DEL] = {"t.del", "DELETE FROM t WHERE k >= ?1", "i", ""},
    [T_ROLLBACK] = {"t.rollback", "ROLLBACK", "", ""},
    [T_PAGES] = {"t.pages", "PRAGMA max_page_count = 100", "", "i"},
    [T_CHECK] = {"t.check", "PRAGMA integrity_check", "", "t"},
    [T_RETURNING] = {"t.returning", "INSERT INTO t (k, txt) VALUES (?1, ?2) RETURNING id, txt",
                     "it", "it"},
    [T_UPSERT] = {"t.upsert", "INSERT INTO t (k) VALUES (?1) ON CONFLICT DO NOTHING", "i", ""},
};

static const struct store_stmts t_set = {t_stmts, T_MAX};

/* A directory that lives for a test, and a store in it. */
struct place {
    char dir[64], path[96], url[TEST_URL_SIZE];
    struct store_conf conf;
    struct migration list[8];
    size_t n;
};

static inline void place_init(struct place *p)
{
    snprintf(p->dir, sizeof p->dir, "/tmp/td-store-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/t.db", p->dir);
    test_store_url(p->path, p->url);
    if (test_on_pg()) { /* what only the other engine can be asked */
        t_stmts[T_PAGES].sql = "SELECT 1 AS pages";
        t_stmts[T_CHECK].sql = "SELECT CAST('ok' AS TEXT)";
    }
    p->conf = (struct store_conf){.url = p->url,
                                  .readers = 2,
                                  .batch = 64,
                                  .queue = 256,
                                  .writers = 1,
                                  .sync_full = true,
                                  .sets = &t_set,
                                  .nsets = 1,
                                  .clock = &clock_system};
    p->list[0] = store_migrations[0];
    p->list[1] = (struct migration){2, "0002_test", (const uint8_t *)t_ddl,
                                    (const uint8_t *)t_ddl + sizeof t_ddl - 1};
    p->n = 2;
}

/* Adds the tables of the outbox, which an audit row needs. */
static inline void place_outbox(struct place *p)
{
    for (size_t i = 0; i < store_nmigrations; i++)
        if (strstr(store_migrations[i].name, "_outbox")) {
            p->list[p->n] = store_migrations[i];
            p->list[p->n].version = (int)p->n + 1;
        }
    p->n++;
}

static inline void place_end(struct place *p)
{
    DIR *d = opendir(p->dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(p->dir);
}

/* Skips a test of what the other engine does by itself (files, disks). */
static inline void sqlite_only(void)
{
    if (test_on_pg())
        skip();
}

static inline struct store *place_open(struct place *p)
{
    struct errinfo ei = {0};
    struct store *s = NULL;
    if (store_open_with(&p->conf, p->list, p->n, &s, &ei) != TD_OK)
        fail_msg("store_open: %s", ei.msg);
    return s;
}

/* Inserts *(int64_t *)ctx. */
static inline enum td_err t_insert(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return tx_exec(tx, &t_stmts[T_INS], SV_LIST(SV_INT(*(int64_t *)ctx), SV_TEXT("x"), SV_NULL),
                   NULL, ei);
}

static inline enum td_err t_count_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &t_stmts[T_COUNT], NULL, 0, &c, ei));
    *(int64_t *)ctx = cur_int(&c, 0);
    cur_end(&c);
    return TD_OK;
}

static inline int64_t t_count(struct store *s)
{
    int64_t n = -1;
    assert_int_equal(store_read(s, t_count_fn, &n, NULL), TD_OK);
    return n;
}

static inline enum td_err t_has_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur c;
    enum td_err e = tx_row(tx, &t_stmts[T_GET], SV_LIST(SV_INT(*(int64_t *)ctx)), &c, ei);
    cur_end(&c);
    return e;
}

static inline bool t_has(struct store *s, int64_t k)
{
    return store_read(s, t_has_fn, &k, NULL) == TD_OK;
}

static inline enum td_err t_check_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct cur c;
    TD_TRY(tx_row(tx, &t_stmts[T_CHECK], NULL, 0, &c, ei));
    *(bool *)ctx = span_eq_str(cur_span(&c, 0), "ok");
    cur_end(&c);
    return TD_OK;
}

static inline bool t_intact(struct store *s)
{
    bool ok = false;
    assert_int_equal(store_read(s, t_check_fn, &ok, NULL), TD_OK);
    return ok;
}

static inline int crypt_setup(void **state)
{
    (void)state;
    return crypt_init(NULL) == TD_OK ? 0 : -1;
}

#endif
