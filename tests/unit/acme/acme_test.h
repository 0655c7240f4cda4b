/* An ACME server on a temporary SQLite store with the real records and identifiers of acme/ca, and
 * a signer that lives in the test.
 *
 * The signer_* functions below stand in for testudo-signer: being defined in the program itself,
 * they keep the linker from taking signer_client.o out of the library. */
#ifndef TD_TESTS_UNIT_ACME_ACME_TEST_H
#define TD_TESTS_UNIT_ACME_ACME_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ecdsa.h>
#include <stdatomic.h>
#include <unistd.h>

#include "../engine.h"
#include "acme/ca/client_id.h"
#include "acme/ca/renewal.h"
#include "acme/server/acme.h"
#include "mdm/base/b64.h"
#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/num.h"
#include "mdm/crypt/x509_build.h"
#include "mdm/store/attempts.h"
#include "mdm/store/audit.h"
#include "mdm/wire/json.h"
#include "tests/unit/attest/fake_pki.h"

#define BASE "https://mdm.example.test:8443"
#define SERIAL "F2LXK0ABCD12"

#define assert_ok(expr) assert_int_equal((expr), TD_OK)

/* --- the signer ------------------------------------------------------------------------------- */

struct signer_client {
    struct cert *root, *issuing;
    struct key *key;
    atomic_int away;   /* answers TD_BUSY */
    atomic_int refuse; /* answers TD_INVAL "issuer-expires" */
    atomic_int issued; /* certificates signed */
};

void signer_client_certs(struct signer_client *c, struct signer_certs *ret)
{
    *ret =
        (struct signer_certs){.root = cert_ref(c->root), .issuing = {cert_ref(c->issuing)}, .n = 1};
}

void signer_certs_free(struct signer_certs *c)
{
    cert_free(c->root);
    cert_free(c->issuing[0]);
}

bool signer_client_alive(const struct signer_client *c)
{
    return !atomic_load(&c->away);
}

enum td_err signer_issue(struct signer_client *c, const struct signer_issue *r, struct arena *a,
                         struct signer_signed *ret, struct errinfo *ei)
{
    if (atomic_load(&c->away))
        return err_set(ei, TD_BUSY, "the signer is away");
    if (atomic_load(&c->refuse))
        return err_reason(ei, TD_INVAL, "issuer-expires", "it would outlive the issuing CA");
    uint8_t serial[16];
    key_auto *pub = NULL;
    rng_fill(&rng_system, serial, sizeof serial);
    serial[0] = (serial[0] & 0x3f) | 0x40;
    TD_TRY(key_from_spki(r->spki, &pub, ei));
    struct x509_spec spec = {.serial = SPAN_ARR(serial),
                             .cn = r->device_serial,
                             .not_before = FAKE_NOW - 3600,
                             .not_after = FAKE_NOW + 90 * FAKE_DAY,
                             .public_key = pub,
                             .key_usage = X509_KU_DIGITAL_SIGNATURE,
                             .san_permanent_id = r->device_serial};
    atomic_fetch_add(&c->issued, 1);
    assert_true(cert_ski(c->issuing, ret->issuer));
    return x509_build(&spec, c->issuing, c->key, a, &ret->der, ei);
}

enum td_err signer_ocsp(struct signer_client *c, const uint8_t issuer[static CERT_SKI_SIZE],
                        const struct ocsp_single *singles, size_t n, struct span nonce,
                        struct arena *a, struct span *ret_der, struct errinfo *ei)
{
    (void)c, (void)issuer, (void)singles, (void)n, (void)nonce, (void)a, (void)ret_der;
    return err_set(ei, TD_BUSY, "no OCSP here");
}

static inline struct cert *ca_cert(const char *cn, const struct key *key, const struct cert *issuer,
                                   const struct key *issuer_key)
{
    static uint8_t serial = 1;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span der;
    struct cert *c;
    serial++;
    struct x509_spec spec = {.serial = span_of(&serial, 1),
                             .cn = cn,
                             .not_before = FAKE_NOW - FAKE_DAY,
                             .not_after = FAKE_NOW + 3000 * FAKE_DAY,
                             .public_key = key,
                             .key_usage = X509_KU_CERT_SIGN,
                             .ca = true,
                             .path_len = -1};
    assert_ok(x509_build(&spec, issuer, issuer_key, &a, &der, NULL));
    assert_ok(cert_parse(der, &c, NULL));
    return c;
}

/* --- the server ------------------------------------------------------------------------------- */

enum listed { LISTED, NOT_LISTED, LISTED_FAULT };

#define WORLD_READERS 4 /* reading connections of the store */

struct world {
    char dir[64], db[TEST_URL_SIZE];
    struct clock_fixed clock;
    struct store *store;
    struct seal *seal;
    struct signer_client signer;
    struct ca *ca;
    struct fake_pki pki, foreign;
    struct attest_roots *roots;
    struct acme *acme;
    atomic_int listed; /* enum listed: what the inventory says of every device */
};

static inline enum td_err world_listed(void *ctx, struct tx *tx, const char *serial,
                                       struct errinfo *ei)
{
    struct world *w = ctx;
    (void)tx;
    assert_true(serial[0] != 0);
    static const enum td_err answers[] = {TD_OK, TD_NOTFOUND, TD_DB};
    int v = atomic_load(&w->listed);
    return answers[v] == TD_OK ? TD_OK : err_set(ei, answers[v], "the inventory's answer");
}

static inline void world_ca(struct world *w)
{
    key_auto *root_key = NULL;
    assert_ok(key_generate(KEY_P256, &root_key, NULL));
    assert_ok(key_generate(KEY_P256, &w->signer.key, NULL));
    w->signer.root = ca_cert("Test Root", root_key, NULL, root_key);
    w->signer.issuing = ca_cert("Test Issuing CA", w->signer.key, w->signer.root, root_key);
    struct ca_conf conf = {w->store, &w->signer, &w->clock.clock, &rng_system, NULL};
    assert_ok(ca_open(&conf, &w->ca, NULL));
}

/* The one server's, or another node's on the same database. */
static inline struct acme_conf world_conf(struct world *w)
{
    return (struct acme_conf){.store = w->store,
                              .ca = w->ca,
                              .roots = w->roots,
                              .clock = &w->clock.clock,
                              .rng = &rng_system,
                              .seal = w->seal,
                              .base_url = BASE,
                              .order_ttl = 3600,
                              .nonce_ttl = 600,
                              .keep_issued = 30 * FAKE_DAY,
                              .idle_accounts = 1000000,
                              .ops = {.ctx = w, .device_listed = world_listed}};
}

/* Statements of a test's own. */
static struct store_stmts world_more_stmts;

static inline int world_setup(void **state)
{
    static struct world world;
    struct world *w = &world;
    struct errinfo ei = {0};
    *w = (struct world){.listed = LISTED};
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    fake_ok(crypt_init(NULL) == TD_OK);
    clock_fixed_init(&w->clock, FAKE_NOW);
    snprintf(w->dir, sizeof w->dir, "/tmp/td-acme-XXXXXX");
    fake_ok(mkdtemp(w->dir) != NULL);
    char file[80];
    snprintf(file, sizeof file, "%.60s/db", w->dir);
    test_store_url(file, w->db);
    struct store_stmts sets[] = {acme_stmts,      ca_stmts,         ca_revoke_stmts,
                                 client_id_stmts, ca_renewal_stmts, attempt_stmts,
                                 audit_stmts,     outbox_stmts,     world_more_stmts};
    struct store_conf sc = {.twice = test_twice(),
                            .url = w->db,
                            .readers = WORLD_READERS,
                            .read_wait_ms = 200,
                            .batch = 64,
                            .queue = 256,
                            .sets = sets,
                            .nsets = TD_NITEMS(sets),
                            .clock = &w->clock.clock};
    if (store_open(&sc, &w->store, &ei) != TD_OK) {
        fprintf(stderr, "store: %s\n", ei.msg);
        return -1;
    }
    assert_ok(seal_parse(SPAN_LIT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), &w->seal, NULL));
    world_ca(w);
    w->pki = fake_pki_new("Fake Attestation Root CA");
    w->foreign = fake_pki_new("Fake Attestation Root CA");
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct span pem = fake_pem(w->pki.root.cert, &a);
    assert_ok(attest_roots_new(&pem, 1, &w->roots, NULL));
    struct acme_conf conf = world_conf(w);
    assert_ok(acme_open(&conf, &w->acme, NULL));
    *state = w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    acme_close(w->acme);
    attest_roots_free(w->roots);
    ca_close(w->ca);
    store_close(w->store);
    seal_free(w->seal);
    cert_free(w->signer.root);
    cert_free(w->signer.issuing);
    key_free(w->signer.key);
    fake_pki_free(&w->pki);
    fake_pki_free(&w->foreign);
    static const char *const ends[] = {"db", "db-wal", "db-shm"};
    char path[128];
    for (size_t i = 0; i < TD_NITEMS(ends); i++) {
        snprintf(path, sizeof path, "%.60s/%s", w->dir, ends[i]);
        unlink(path);
    }
    rmdir(w->dir);
    return 0;
}

/* Before each test: the usual time, everything listed, the signer there. */
static inline int world_reset(void **state)
{
    struct world *w = *state;
    w->clock.at = FAKE_NOW;
    atomic_store(&w->listed, LISTED);
    atomic_store(&w->signer.away, 0);
    atomic_store(&w->signer.refuse, 0);
    return 0;
}

/* --- a transport without sockets ----------------------------------------------------------------
 */

struct answer {
    enum td_err err;
    int status;
    const char *reason, *body; /* body: NUL-terminated, in the arena */
    const char *location, *nonce, *links[3], *content_type, *retry_after;
    size_t nlinks;
    struct json *json; /* NULL when the body is none */
    bool tried_twice;  /* it would have waited on the listener's thread */
};

/* Matches a route's pattern against a path and takes the parameters. */
static inline bool route_match(const char *pattern, const char *path, struct req *r)
{
    size_t n = 0;
    memset(r->params, 0, sizeof r->params);
    while (*pattern) {
        if (*pattern == '{') {
            size_t len = strcspn(path, "/");
            r->params[n++] = span_of(path, len);
            path += len;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return !*path;
}

static inline const struct route *route_find(struct req *r, const char *path)
{
    for (size_t i = 0; i < acme_nroutes; i++)
        if ((acme_routes[i].methods & r->method) && route_match(acme_routes[i].path, path, r))
            return &acme_routes[i];
    fail_msg("no route for %s", path);
    return acme_routes; /* not reached */
}

static inline void take_headers(struct answer *an, const struct resp *resp)
{
    for (size_t i = 0; i < resp->nheaders; i++) {
        const char *name = resp->headers[i].name, *v = resp->headers[i].value;
        if (!strcmp(name, "Location"))
            an->location = v;
        else if (!strcmp(name, "Replay-Nonce"))
            an->nonce = v;
        else if (!strcmp(name, "Retry-After"))
            an->retry_after = v;
        else if (!strcmp(name, "Link") && an->nlinks < TD_NITEMS(an->links))
            an->links[an->nlinks++] = v;
    }
}

/* `target` is path and query. Answers live in the arena. */
static inline struct answer serve(struct world *w, struct arena *a, enum req_method method,
                                  const char *target, const char *type, struct span body)
{
    size_t plen = strcspn(target, "?");
    const char *path = arena_dup(a, span_of(target, plen));
    struct req r = {.method = method,
                    .listener = REQ_ON_PUBLIC,
                    .path = span_str(path),
                    .query = span_str(target[plen] ? target + plen + 1 : ""),
                    .body = body,
                    .content_type = span_str(type),
                    .peer_addr = "192.0.2.1",
                    .id = "t",
                    .arena = a,
                    .ctx = w->acme};
    const struct route *route = route_find(&r, path);
    assert_true(body.n <= route->body_max);
    struct resp resp;
    struct errinfo ei = {0};
    struct answer an = {0};
    resp_init(&resp, a, 1 << 20);
    r.no_wait = route->flags & ROUTE_TRY; /* as the HTTP layer does */
    an.err = route->fn(&r, &resp, &ei);
    if (r.no_wait && an.err == TD_AGAIN) {
        resp_free(&resp);
        resp_init(&resp, a, 1 << 20);
        ei = (struct errinfo){0};
        r.no_wait = false;
        an.tried_twice = true;
        an.err = route->fn(&r, &resp, &ei);
    }
    if (an.err != TD_OK) {
        buf_reset(&resp.body);
        route->problem(&r, &resp, an.err, &ei);
        an.reason = ei.reason ? ei.reason : "";
    }
    an.status = resp.status;
    an.content_type = resp.content_type;
    an.body = arena_dup(a, buf_view(&resp.body));
    take_headers(&an, &resp);
    if (json_parse(buf_view(&resp.body), a, &an.json, NULL) != TD_OK)
        an.json = NULL;
    if (an.err == TD_OK && an.status >= 400) { /* a problem that the handler wrote itself */
        an.err = TD_INVAL;
        if (json_get_str(an.json, "reason", &an.reason) != TD_OK)
            an.reason = "";
    }
    resp_free(&resp);
    return an;
}

#endif
