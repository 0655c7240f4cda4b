/* Which database a test of the store runs on: SQLite in the test's directory, or, with
 * TD_TEST_ENGINE=pg, a fresh database in the PostgreSQL cluster that TD_TEST_PG names. Both engines
 * run the same tests. */
#ifndef TD_TESTS_UNIT_ENGINE_H
#define TD_TESTS_UNIT_ENGINE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEST_URL_SIZE 256

static inline bool test_on_pg(void)
{
    const char *engine = secure_getenv("TD_TEST_ENGINE");
    return engine && strcmp(engine, "pg") == 0;
}

/* Whether jobs run twice (store_conf.twice): what a lost race does to them, every time. */
static inline bool test_twice(void)
{
    return secure_getenv("TD_TEST_TWICE") != NULL;
}

/* How often a write job was run that was asked for n times. */
static inline int test_runs(int n)
{
    return test_twice() ? 2 * n : n;
}

/* The URL of a database in the cluster. */
static inline void test_pg_url(const char *name, char out[static TEST_URL_SIZE])
{
    const char *cluster = secure_getenv("TD_TEST_PG"),
               *slashes = cluster ? strstr(cluster, ":///") : NULL;
    if (!slashes) {
        fprintf(stderr, "TD_TEST_PG is not set\n");
        exit(2);
    }
    snprintf(out, TEST_URL_SIZE, "%.*s%s%s", (int)(slashes + 4 - cluster), cluster, name,
             slashes + 4);
}

/* A database of this test alone. */
static inline void test_pg_create(char out[static TEST_URL_SIZE])
{
    static unsigned count;
    char name[40], sql[120], admin[TEST_URL_SIZE];
    snprintf(name, sizeof name, "t%d_%u", (int)getpid(), count++);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE template0 LOCALE 'C.UTF-8'", name);
    test_pg_url("postgres", admin);
    PGconn *c = PQconnectdb(admin);
    PGresult *r = PQexec(c, sql);
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(c));
        exit(2);
    }
    PQclear(r);
    PQfinish(c);
    test_pg_url(name, out);
}

/* The URL of an empty database; `path` is the file SQLite takes. */
static inline void test_store_url(const char *path, char out[static TEST_URL_SIZE])
{
    if (test_on_pg())
        test_pg_create(out);
    else
        snprintf(out, TEST_URL_SIZE, "sqlite:%s", path);
}

#endif
