/* OCSP: which status, which error, and the HTTP around it. */
#include "ca_test.h"

#include "acme/ca/ca_int.h"
#include "mdm/base/b64.h"
#include "mdm/base/hex.h"
#include "mdm/base/limits.h"
#include "mdm/base/str.h"

/* --- DER of a request, written here by hand --- */

static void der(struct buf *b, uint8_t tag, struct span s)
{
    assert_ok(buf_u8(b, tag));
    if (s.n > 0xff) {
        assert_ok(buf_u8(b, 0x82));
        assert_ok(buf_u16(b, (uint16_t)s.n));
    } else {
        if (s.n > 0x7f)
            assert_ok(buf_u8(b, 0x81));
        assert_ok(buf_u8(b, (uint8_t)s.n));
    }
    assert_ok(buf_span(b, s));
}

static struct span wrap(struct arena *a, uint8_t tag, struct span s)
{
    buf_auto b;
    buf_init(&b, 100000);
    der(&b, tag, s);
    struct span out = arena_span(a, buf_view(&b));
    assert_non_null(out.p);
    return out;
}

static struct span join(struct arena *a, const struct span *parts, size_t n)
{
    buf_auto b;
    buf_init(&b, 100000);
    for (size_t i = 0; i < n; i++)
        assert_ok(buf_span(&b, parts[i]));
    struct span out = arena_span(a, buf_view(&b));
    return out;
}

#define JOIN(a, ...)                                                                               \
    join((a), (const struct span[]){__VA_ARGS__}, TD_NITEMS(((const struct span[]){__VA_ARGS__})))

static const struct span alg_sha1 = SPAN_LIT("\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00");
static const struct span alg_sha256 =
    SPAN_LIT("\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01");
static const struct span alg_sha512 =
    SPAN_LIT("\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03");

static struct span certid(struct arena *a, const struct cert *issuer, enum digest_alg alg,
                          struct span serial)
{
    uint8_t name[DIGEST_SIZE_MAX], key[DIGEST_SIZE_MAX];
    struct span point;
    struct errinfo ei = {0};
    assert_ok(key_ec_point(cert_key(issuer), a, &point, &ei));
    digest(alg, cert_subject_der(issuer), name);
    digest(alg, point, key);
    size_t n = digest_size(alg);
    struct span id = alg == DIGEST_SHA1 ? alg_sha1 : alg == DIGEST_SHA256 ? alg_sha256 : alg_sha512;
    return wrap(a, 0x30,
                JOIN(a, id, wrap(a, 0x04, span_of(name, n)), wrap(a, 0x04, span_of(key, n)),
                     wrap(a, 0x02, serial)));
}

/* OCSPRequest for a list of Request bodies; nonce.n == 0: none. */
static struct span request(struct arena *a, struct span ids, struct span nonce)
{
    struct span list = wrap(a, 0x30, ids);
    struct span exts = {NULL, 0};
    if (nonce.n) {
        struct span oid = SPAN_LIT("\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02");
        struct span ext = wrap(a, 0x30, JOIN(a, oid, wrap(a, 0x04, wrap(a, 0x04, nonce))));
        exts = wrap(a, 0xa2, wrap(a, 0x30, ext));
    }
    return wrap(a, 0x30, wrap(a, 0x30, JOIN(a, list, exts)));
}

static struct span ask_for(struct arena *a, struct fixture *f, enum digest_alg alg,
                           struct span serial, struct span nonce)
{
    return request(a, wrap(a, 0x30, certid(a, ca_issuing(f->ca), alg, serial)), nonce);
}

static const struct span none = {NULL, 0};

static bool contains(struct span hay, struct span needle)
{
    return needle.n && memmem(hay.p, hay.n, needle.p, needle.n) != NULL;
}

/* The error status of an unsigned response, 0 for a successful one. */
static int status_of(struct span r)
{
    if (r.n == 5 && r.p[0] == 0x30 && r.p[2] == 0x0a)
        return r.p[4];
    assert_true(r.n > 100);
    return 0;
}

/* certStatus of the single response for this CertID: its tag behind the CertID (RFC 6960 section
 * 4.2.1): 0x80 good, 0xa1 revoked, 0x82 unknown. */
static uint8_t cert_status(struct span r, struct span id)
{
    const uint8_t *at = memmem(r.p, r.n, id.p, id.n);
    assert_non_null(at);
    assert_true(at + id.n < r.p + r.n);
    return at[id.n];
}

static void test_good_revoked_unknown(void **state)
{
    struct fixture *f = *state;
    static const enum digest_alg algs[] = {DIGEST_SHA1, DIGEST_SHA256};
    for (size_t i = 0; i < TD_NITEMS(algs); i++) {
        arena_auto a;
        arena_init(&a, 1 << 20);
        struct ca_record r;
        int64_t age = -1;
        char serial[16];
        snprintf(serial, sizeof serial, "GRU%zu", i);
        issue(f, serial, "management", KEY_P256, &a, &r);
        struct span id = certid(&a, ca_issuing(f->ca), algs[i], r.serial);
        struct span q = ask_for(&a, f, algs[i], r.serial, none);
        /* issued, but not committed: nobody may call it good */
        struct span ans = ca_ocsp(f->ca, q, &a, &age);
        assert_int_equal(cert_status(ans, id), 0x82);
        assert_int_equal(age, 0);
        add_record(f, &r);
        ans = ca_ocsp(f->ca, q, &a, &age);
        assert_int_equal(cert_status(ans, id), 0x80);
        assert_in_range((uint64_t)age, 86000, 86400);
        struct span again = ca_ocsp(f->ca, q, &a, &age);
        assert_true(span_eq(ans, again)); /* the cache, byte for byte */
        assert_true(ans.p != again.p);
        /* the very next question behind the commit */
        assert_int_equal(revoke_device(f, serial), 1);
        ans = ca_ocsp(f->ca, q, &a, &age);
        assert_int_equal(cert_status(ans, id), 0xa1);
        assert_true(contains(ans, SPAN_LIT("\xa0\x03\x0a\x01\x05"))); /* cessationOfOperation */
        again = ca_ocsp(f->ca, q, &a, &age);
        assert_true(span_eq(ans, again));
        assert_int_equal(revoke_device(f, serial), 0); /* once is enough */
        struct span never = SPAN_LIT("\x40\x01\x02\x03");
        id = certid(&a, ca_issuing(f->ca), algs[i], never);
        ans = ca_ocsp(f->ca, ask_for(&a, f, algs[i], never, none), &a, &age);
        assert_int_equal(cert_status(ans, id), 0x82);
        assert_int_equal(age, 0);
    }
}

struct change_job {
    struct span serial;
    struct ca_change c;
};

static enum td_err change_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct change_job *j = ctx;
    bool changed;
    return ca_change_one(tx, j->serial, &j->c, &changed, ei);
}

static void change(struct fixture *f, struct span serial, enum ca_act act)
{
    struct errinfo ei = {0};
    struct change_job j = {serial,
                           {.act = act,
                            .if_match = CA_IF_ANY,
                            .now = clock_now(&clock_system),
                            .actor = "test",
                            .txn = "t"}};
    assert_ok(store_write(f->store, change_fn, &j, &ei));
}

/* On hold: revoked for now, and good by the first question behind the release. */
static void test_hold(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ca_record r;
    int64_t age;
    issue(f, "HOLD1", "access", KEY_P256, &a, &r);
    add_record(f, &r);
    struct span id = certid(&a, ca_issuing(f->ca), DIGEST_SHA1, r.serial);
    struct span q = ask_for(&a, f, DIGEST_SHA1, r.serial, none);
    assert_int_equal(cert_status(ca_ocsp(f->ca, q, &a, &age), id), 0x80);
    for (int i = 0; i < 2; i++) {
        change(f, r.serial, CA_ACT_HOLD);
        struct span ans = ca_ocsp(f->ca, q, &a, &age);
        assert_int_equal(cert_status(ans, id), 0xa1);
        assert_true(contains(ans, SPAN_LIT("\xa0\x03\x0a\x01\x06"))); /* certificateHold */
        change(f, r.serial, CA_ACT_RELEASE);
        assert_int_equal(cert_status(ca_ocsp(f->ca, q, &a, &age), id), 0x80);
    }
}

/* A certificate that ended is answered for 30 days more. */
static void test_expired(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int64_t ago;
        uint8_t status;
    } rows[] = {{-100, 0x80}, {29 * 86400, 0x80}, {30 * 86400 + 60, 0x82}};
    for (uint8_t i = 0; i < TD_NITEMS(rows); i++) {
        arena_auto a;
        arena_init(&a, 1 << 20);
        uint8_t serial[] = {0x44, 1, 1, i};
        struct ca_record r = {.serial = SPAN_ARR(serial),
                              .device_serial = "OLD1",
                              .profile = "access",
                              .purpose = "access",
                              .der = SPAN_LIT("der"),
                              .not_before = 100,
                              .not_after = clock_now(&clock_system) - rows[i].ago,
                              .created_at = 100,
                              .reason = -1};
        int64_t age;
        assert_true(cert_ski(ca_issuing(f->ca), r.issuer));
        memset(r.sha256, 0xe0 + i, SHA256_SIZE);
        add_record(f, &r);
        struct span id = certid(&a, ca_issuing(f->ca), DIGEST_SHA1, r.serial);
        struct span q = ask_for(&a, f, DIGEST_SHA1, r.serial, none);
        assert_int_equal(cert_status(ca_ocsp(f->ca, q, &a, &age), id), rows[i].status);
    }
}

/* Without waiting: only what the cache holds, and never a stale status of it. */
static void test_no_wait(void **state)
{
    struct fixture *f = *state;
    if (test_on_pg())
        skip(); /* there every read may wait */
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ca_record r;
    struct ocsp_answer ans;
    int64_t age;
    issue(f, "NOWAIT1", "management", KEY_P256, &a, &r);
    add_record(f, &r);
    struct span id = certid(&a, ca_issuing(f->ca), DIGEST_SHA1, r.serial);
    struct span q = ask_for(&a, f, DIGEST_SHA1, r.serial, none);
    assert_false(ca_ocsp_try(f->ca, q, &a, &ans));
    struct span signed_ = ca_ocsp(f->ca, q, &a, &age);
    assert_true(ca_ocsp_try(f->ca, q, &a, &ans));
    assert_true(span_eq(ans.der, signed_));
    assert_true(ans.cacheable);
    struct span nonce = SPAN_LIT("0123456789abcdef");
    assert_false(ca_ocsp_try(f->ca, ask_for(&a, f, DIGEST_SHA1, r.serial, nonce), &a, &ans));
    assert_int_equal(revoke_device(f, "NOWAIT1"), 1);
    assert_false(ca_ocsp_try(f->ca, q, &a, &ans));
    assert_int_equal(cert_status(ca_ocsp(f->ca, q, &a, &age), id), 0xa1);
    assert_true(ca_ocsp_try(f->ca, q, &a, &ans));
    assert_int_equal(cert_status(ans.der, id), 0xa1);
    /* an error needs nobody */
    assert_true(ca_ocsp_try(f->ca, SPAN_LIT("\x30"), &a, &ans));
    assert_int_equal(status_of(ans.der), 1);
}

/* What another process commits (`testudo cert revoke` beside a server) is answered at once, though
 * answers are given without a look into the database while nothing changes. */
static void test_another_process(void **state)
{
    struct fixture *f = *state, second = *f;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ca_record r, other;
    int64_t age;
    second.store = fixture_store(f);
    issue(f, "TWO1", "management", KEY_P256, &a, &r);
    add_record(f, &r);
    struct span id = certid(&a, ca_issuing(f->ca), DIGEST_SHA1, r.serial);
    struct span q = ask_for(&a, f, DIGEST_SHA1, r.serial, none);
    uint64_t before = store_epoch(f->store);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cert_status(ca_ocsp(f->ca, q, &a, &age), id), 0x80);
    issue(f, "TWO2", "management", KEY_P256, &a, &other);
    add_record(&second, &other); /* changes nobody's status */
    assert_int_equal(store_epoch(f->store), before);
    assert_int_equal(revoke_device(&second, "TWO1"), 1);
    if (!test_on_pg())
        assert_true(before != 0 && store_epoch(f->store) > before);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cert_status(ca_ocsp(f->ca, q, &a, &age), id), 0xa1);
    store_close(second.store);
}

static void test_nonce(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ca_record r;
    int64_t age;
    uint8_t nonce[129];
    memset(nonce, 0x5a, sizeof nonce);
    issue(f, "NONCE1", "management", KEY_P256, &a, &r);
    add_record(f, &r);
    static const struct {
        size_t n;
        int status;
    } rows[] = {{1, 0}, {16, 0}, {32, 0}, {128, 0}, {129, 1}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        nonce[0] = (uint8_t)i;
        struct span nc = span_of(nonce, rows[i].n);
        struct span q = ask_for(&a, f, DIGEST_SHA256, r.serial, nc);
        struct span ans = ca_ocsp(f->ca, q, &a, &age);
        assert_int_equal(status_of(ans), rows[i].status);
        assert_int_equal(age, 0); /* nobody else asks with this nonce */
        if (rows[i].status == 0)
            assert_true(contains(ans, wrap(&a, 0x04, nc)));
    }
    struct span plain = ca_ocsp(f->ca, ask_for(&a, f, DIGEST_SHA256, r.serial, none), &a, &age);
    assert_false(contains(plain, span_of(nonce, 16)));
}

static void test_errors(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 22);
    struct span serial = SPAN_LIT("\x11");
    struct span good = ask_for(&a, f, DIGEST_SHA1, serial, none);
    struct span one = wrap(&a, 0x30, certid(&a, ca_issuing(f->ca), DIGEST_SHA1, serial));
    struct span foreign = wrap(&a, 0x30, certid(&a, ca_root(f->ca), DIGEST_SHA1, serial));
    struct span other_hash = wrap(&a, 0x30, certid(&a, ca_issuing(f->ca), DIGEST_SHA512, serial));
    struct span many[OCSP_IDS_MAX + 1];
    for (size_t i = 0; i < TD_NITEMS(many); i++)
        many[i] = one;
    uint8_t *bent = arena_alloc(&a, good.n + 1);
    memcpy(bent, good.p, good.n);
    static uint8_t big[LIMIT_BODY_OCSP + 1], octets[80];
    memset(octets, 0x41, sizeof octets);
    const struct {
        struct span req;
        int status;
    } rows[] = {
        {none, 1},
        {SPAN_LIT("\x30"), 1},
        {SPAN_LIT("\x30\x00"), 1},
        {SPAN_LIT("hello"), 1},
        {span_of(bent, good.n + 1), 1},
        {span_of(bent, good.n - 1), 1},
        {span_of(big, LIMIT_BODY_OCSP), 1},
        {span_of(big, LIMIT_BODY_OCSP + 1), 1},
        {request(&a, none, none), 1},
        {good, 0},
        {request(&a, foreign, none), 6},
        {request(&a, other_hash, none), 6},
        {request(&a, JOIN(&a, one, foreign), none), 6},
        {request(&a, join(&a, many, 2), none), 0},
        {request(&a, join(&a, many, OCSP_IDS_MAX), none), 0},
        {request(&a, join(&a, many, OCSP_IDS_MAX + 1), none), 1},
        {ask_for(&a, f, DIGEST_SHA1, span_of(octets, 20), none), 0},
        {ask_for(&a, f, DIGEST_SHA1, span_of(octets, 65), none), 6},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        int64_t age = -1;
        struct span ans = ca_ocsp(f->ca, rows[i].req, &a, &age);
        if (status_of(ans) != rows[i].status)
            fail_msg("row %zu: status %d", i, status_of(ans));
        assert_int_equal(age, 0);
    }
}

/* --- HTTP --- */

static const struct route *route(enum req_method m, const char *path)
{
    for (size_t i = 0; i < ca_nroutes; i++)
        if ((ca_routes[i].methods & (unsigned)m) && strcmp(ca_routes[i].path, path) == 0)
            return &ca_routes[i];
    fail();
    return NULL;
}

static const char *header(const struct resp *w, const char *name)
{
    for (size_t i = 0; i < w->nheaders; i++)
        if (str_ieq(span_str(w->headers[i].name), span_str(name)))
            return w->headers[i].value;
    return NULL;
}

static enum td_err get(struct fixture *f, struct arena *a, const char *path, struct span tail,
                       const char *if_none_match, struct resp *w)
{
    struct errinfo ei = {0};
    struct req_header h = {SPAN_LIT("if-none-match"), span_str(if_none_match)};
    struct req r = {.method = REQ_GET,
                    .listener = REQ_ON_STATUS,
                    .tail = tail,
                    .peer_addr = "",
                    .arena = a,
                    .ctx = f->ca,
                    .headers = &h,
                    .nheaders = if_none_match ? 1 : 0};
    resp_init(w, a, 1 << 20);
    return route(REQ_GET, path)->fn(&r, w, &ei);
}

static enum td_err post(struct fixture *f, struct arena *a, const char *type, struct span body,
                        struct resp *w)
{
    struct errinfo ei = {0};
    struct req r = {.method = REQ_POST,
                    .listener = REQ_ON_STATUS,
                    .body = body,
                    .peer_addr = "",
                    .content_type = span_str(type),
                    .arena = a,
                    .ctx = f->ca};
    resp_init(w, a, 1 << 20);
    return route(REQ_POST, "/ocsp")->fn(&r, w, &ei);
}

static void test_post(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct resp w;
    struct span q = ask_for(&a, f, DIGEST_SHA1, SPAN_LIT("\x11"), none);
    static const char *const wrong[] = {"", "text/plain", "application/ocsp-response",
                                        "application/ocsp-requests"};
    for (size_t i = 0; i < TD_NITEMS(wrong); i++) {
        assert_int_equal(post(f, &a, wrong[i], q, &w), TD_MEDIA);
        resp_free(&w);
    }
    assert_ok(post(f, &a, "Application/OCSP-Request", q, &w));
    assert_int_equal(w.status, 200);
    assert_string_equal(w.content_type, "application/ocsp-response");
    assert_int_equal(status_of(buf_view(&w.body)), 0);
    resp_free(&w);
    assert_ok(post(f, &a, "application/ocsp-request", SPAN_LIT("bad"), &w));
    assert_int_equal(w.status, 200);
    assert_int_equal(status_of(buf_view(&w.body)), 1);
    assert_string_equal(header(&w, "Cache-Control"), "max-age=0, no-cache, no-store");
    assert_null(header(&w, "ETag"));
    resp_free(&w);
    assert_int_equal(route(REQ_POST, "/ocsp")->body_max, LIMIT_BODY_OCSP);
}

static void test_get_forms(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 22);
    struct ca_record r;
    struct resp w;
    issue(f, "GET1", "management", KEY_P256, &a, &r);
    add_record(f, &r);
    struct span q = ask_for(&a, f, DIGEST_SHA256, r.serial, none);
    buf_auto b64, esc, spaced, broken;
    buf_init(&b64, 4096);
    buf_init(&esc, 8192);
    buf_init(&spaced, 8192);
    buf_init(&broken, 8192);
    assert_ok(b64_enc(&b64, q));
    for (size_t i = 0; i < b64.n; i++) {
        char c = (char)b64.p[i];
        bool special = c == '+' || c == '/' || c == '=';
        assert_ok(special ? buf_printf(&esc, "%%%02x", (unsigned)c) : buf_u8(&esc, (uint8_t)c));
        assert_ok(buf_u8(&spaced, c == '+' ? ' ' : (uint8_t)c));
        assert_ok(i % 20 == 19 ? buf_printf(&broken, "%c%%0D%%0A", c)
                               : buf_u8(&broken, (uint8_t)c));
    }
    const struct {
        struct span tail;
        int status;
    } rows[] = {
        {buf_view(&b64), 0},
        {buf_view(&esc), 0},
        {buf_view(&spaced), 0},
        {buf_view(&broken), 0},
        {JOIN(&a, SPAN_LIT("/"), buf_view(&b64)), 0},
        {JOIN(&a, SPAN_LIT("%2F"), buf_view(&esc)), 0},
        {none, 1},
        {SPAN_LIT("/"), 1},
        {SPAN_LIT("%"), 1},
        {SPAN_LIT("%4"), 1},
        {SPAN_LIT("%zz"), 1},
        {SPAN_LIT("!!!!"), 1},
        {span_sub(buf_view(&b64), 0, b64.n - 4), 1},
    };
    struct span first = none;
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        assert_ok(get(f, &a, "/ocsp/{*}", rows[i].tail, NULL, &w));
        assert_int_equal(w.status, 200);
        assert_string_equal(w.content_type, "application/ocsp-response");
        if (status_of(buf_view(&w.body)) != rows[i].status)
            fail_msg("row %zu", i);
        if (i == 0)
            first = arena_span(&a, buf_view(&w.body));
        else if (rows[i].status == 0)
            assert_true(span_eq(buf_view(&w.body), first));
        resp_free(&w);
    }
}

static void test_http_caching(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ca_record r;
    struct resp w;
    issue(f, "CACHE1", "management", KEY_P256, &a, &r);
    add_record(f, &r);
    buf_auto b64;
    buf_init(&b64, 4096);
    assert_ok(b64_enc(&b64, ask_for(&a, f, DIGEST_SHA1, r.serial, none)));
    assert_ok(get(f, &a, "/ocsp/{*}", buf_view(&b64), NULL, &w));
    uint8_t h[SHA256_SIZE];
    char etag[80], hex[65];
    digest_sha256(buf_view(&w.body), h);
    hex_enc(SPAN_ARR(h), hex);
    snprintf(etag, sizeof etag, "\"%s\"", hex);
    assert_string_equal(header(&w, "ETag"), etag);
    assert_non_null(strstr(header(&w, "Cache-Control"), "public, no-transform, must-revalidate"));
    const char *modified = header(&w, "Last-Modified"), *expires = header(&w, "Expires");
    struct tm tm = {0};
    assert_non_null(strptime(modified, "%a, %d %b %Y %H:%M:%S GMT", &tm));
    int64_t from = timegm(&tm);
    assert_non_null(strptime(expires, "%a, %d %b %Y %H:%M:%S GMT", &tm));
    assert_int_equal(timegm(&tm) - from, 86400 + 300);
    resp_free(&w);

    char list[200];
    snprintf(list, sizeof list, "\"other\", W/%s", etag);
    const struct {
        const char *sent;
        int status;
    } rows[] = {{etag, 304}, {list, 304}, {"*", 304}, {"\"other\"", 200}, {"", 200}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        assert_ok(get(f, &a, "/ocsp/{*}", buf_view(&b64), rows[i].sent, &w));
        assert_int_equal(w.status, rows[i].status);
        assert_int_equal(w.body.n == 0, rows[i].status == 304);
        resp_free(&w);
    }
    /* revoked: the old tag is not the answer any more */
    assert_int_equal(revoke_device(f, "CACHE1"), 1);
    assert_ok(get(f, &a, "/ocsp/{*}", buf_view(&b64), etag, &w));
    assert_int_equal(w.status, 200);
    resp_free(&w);
}

static void test_ca_certificates(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    struct resp w;
    assert_ok(get(f, &a, "/ca/root.crt", none, NULL, &w));
    assert_true(span_eq(buf_view(&w.body), cert_der(ca_root(f->ca))));
    assert_string_equal(w.content_type, "application/pkix-cert");
    char *etag = arena_strdup(&a, header(&w, "ETag"));
    resp_free(&w);
    assert_ok(get(f, &a, "/ca/root.crt", none, etag, &w));
    assert_int_equal(w.status, 304);
    resp_free(&w);
    assert_ok(get(f, &a, "/ca/issuing.crt", none, NULL, &w));
    assert_true(span_eq(buf_view(&w.body), cert_der(ca_issuing(f->ca))));
    resp_free(&w);
    assert_ok(get(f, &a, "/ca/chain.pem", none, NULL, &w));
    struct cert *chain[3] = {0};
    size_t n = 0;
    assert_ok(cert_all_from_pem(buf_view(&w.body), chain, 3, &n, &ei));
    assert_int_equal(n, 2);
    assert_true(span_eq(cert_der(chain[0]), cert_der(ca_issuing(f->ca))));
    assert_true(span_eq(cert_der(chain[1]), cert_der(ca_root(f->ca))));
    cert_free(chain[0]);
    cert_free(chain[1]);
    resp_free(&w);
    for (size_t i = 0; i < ca_nroutes; i++) {
        bool ocsp = strncmp(ca_routes[i].path, "/ocsp", 5) == 0;
        assert_int_equal((ca_routes[i].listeners & REQ_ON_PUBLIC) != 0, !ocsp);
        assert_int_equal((ca_routes[i].listeners & REQ_ON_STATUS) != 0, true);
        assert_int_equal(ca_routes[i].access, ROUTE_OPEN);
    }
}

/* --- another implementation's opinion --- */

static void test_openssl(void **state)
{
    struct fixture *f = *state;
    if (!have_openssl()) {
        skip();
        return;
    }
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    struct ca_record r;
    char root[100], issuing[100], leaf[100], q[100], ans[100], out[4000];
    snprintf(root, sizeof root, "%s/r.pem", f->dir);
    snprintf(issuing, sizeof issuing, "%s/i.pem", f->dir);
    snprintf(leaf, sizeof leaf, "%s/l.pem", f->dir);
    snprintf(q, sizeof q, "%s/q.der", f->dir);
    snprintf(ans, sizeof ans, "%s/a.der", f->dir);
    write_pem(root, ca_root(f->ca));
    write_pem(issuing, ca_issuing(f->ca));
    static const char *const hashes[] = {"-sha1", "-sha256"};
    static const char *const nonces[] = {"-nonce", "-no_nonce"};
    static const enum key_type types[] = {KEY_P256, KEY_P384};
    for (size_t i = 0; i < 4; i++) {
        char serial[16];
        snprintf(serial, sizeof serial, "OSSL%zu", i);
        issue(f, serial, i < 2 ? "management" : "access", types[i % 2], &a, &r);
        cert_auto *c = NULL;
        assert_ok(cert_parse(r.der, &c, &ei));
        write_pem(leaf, c);
        int rc = RUN(out, "openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile",
                     root, "-untrusted", issuing, leaf);
        if (rc != 0)
            fail_msg("%s", out);
        static const char *const says[] = {"unknown", "good", "revoked"};
        for (size_t phase = 0; phase < 3; phase++) {
            assert_int_equal(RUN(out, "openssl", "ocsp", "-issuer", issuing, hashes[i % 2], "-cert",
                                 leaf, nonces[i / 2], "-reqout", q),
                             0);
            struct buf req;
            int64_t age;
            assert_ok(fs_read(q, 65536, &req, &ei));
            write_file(ans, ca_ocsp(f->ca, buf_view(&req), &a, &age));
            buf_free(&req);
            rc = RUN(out, "openssl", "ocsp", "-issuer", issuing, hashes[i % 2], "-cert", leaf,
                     "-no_nonce", "-reqin", q, "-respin", ans, "-CAfile", root, "-verify_other",
                     issuing);
            if (rc != 0 || !strstr(out, "Response verify OK") || !strstr(out, says[phase]) ||
                strstr(out, "WARNING"))
                fail_msg("%zu/%zu: %d %s", i, phase, rc, out);
            if (phase == 0)
                add_record(f, &r);
            else if (phase == 1)
                assert_int_equal(revoke_device(f, serial), 1);
        }
    }
}

/* What the signer must refuse whoever asks. */
static void test_signer_checks_windows(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct errinfo ei = {0};
    int64_t now = clock_now(&clock_system);
    uint8_t id[CERT_SKI_SIZE];
    assert_true(cert_ski(ca_issuing(f->ca), id));
    struct span ours = certid(&a, ca_issuing(f->ca), DIGEST_SHA256, SPAN_LIT("\x11"));
    struct span foreign = certid(&a, ca_root(f->ca), DIGEST_SHA256, SPAN_LIT("\x11"));
    struct span other = certid(&a, ca_issuing(f->ca), DIGEST_SHA512, SPAN_LIT("\x11"));
    const struct {
        struct ocsp_single s;
        enum td_err e;
    } rows[] = {
        {{ours, OCSP_GOOD, 0, -1, now, now + 86400}, TD_OK},
        {{ours, OCSP_GOOD, 0, -1, now, now + 7 * 86400}, TD_OK},
        {{ours, OCSP_GOOD, 0, -1, now, now + 7 * 86400 + 1}, TD_INVAL},
        {{ours, OCSP_GOOD, 0, -1, now - 7200, now + 86400}, TD_INVAL},
        {{ours, OCSP_GOOD, 0, -1, now + 7200, now + 86400}, TD_INVAL},
        {{ours, OCSP_GOOD, 0, -1, now, now - 1}, TD_INVAL},
        {{ours, OCSP_REVOKED, now - 5, 5, now, now + 86400}, TD_OK},
        {{ours, OCSP_REVOKED, now - 5, -1, now, now + 86400}, TD_OK},
        {{ours, OCSP_REVOKED, 0, 5, now, now + 86400}, TD_INVAL},
        {{ours, OCSP_REVOKED, now + 3600, 5, now, now + 86400}, TD_INVAL},
        {{foreign, OCSP_GOOD, 0, -1, now, now + 86400}, TD_FORBIDDEN},
        {{other, OCSP_GOOD, 0, -1, now, now + 86400}, TD_FORBIDDEN},
        {{SPAN_LIT("\x30\x00"), OCSP_GOOD, 0, -1, now, now + 86400}, TD_PARSE},
        {{span_sub(ours, 0, ours.n - 1), OCSP_GOOD, 0, -1, now, now + 86400}, TD_PARSE},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct span out;
        enum td_err e = signer_ocsp(f->client, id, &rows[i].s, 1, none, &a, &out, &ei);
        if (e != rows[i].e)
            fail_msg("row %zu: %s %s", i, err_name(e), err_msg(&ei, e));
    }
    struct span out;
    id[0] ^= 1; /* no CA of ours */
    assert_int_equal(signer_ocsp(f->client, id, &rows[0].s, 1, none, &a, &out, &ei), TD_FORBIDDEN);
    assert_string_equal(ei.reason, "certid-issuer");
}

/* Last: without the signer, what is cached is still answered, the rest is tryLater. */
static void test_signer_away(void **state)
{
    struct fixture *f = *state;
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct ca_record r;
    int64_t age;
    issue(f, "AWAY1", "management", KEY_P256, &a, &r);
    add_record(f, &r);
    struct span q = ask_for(&a, f, DIGEST_SHA1, r.serial, none);
    struct span before = ca_ocsp(f->ca, q, &a, &age);
    assert_int_equal(status_of(before), 0);
    pid_t supervisor = child_of(getpid());
    assert_true(supervisor > 0);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    for (int ms = 20000; ms > 0 && signer_client_alive(f->client); ms -= 5)
        poll(NULL, 0, 5);
    assert_false(signer_client_alive(f->client));
    assert_true(span_eq(ca_ocsp(f->ca, q, &a, &age), before));
    struct span live = ask_for(&a, f, DIGEST_SHA1, r.serial, SPAN_LIT("0123456789abcdef"));
    assert_int_equal(status_of(ca_ocsp(f->ca, live, &a, &age)), 3);
    struct errinfo ei = {0};
    struct ca_grant g = {.profile = "management", .device_serial = "AWAY1"};
    cert_auto *c = NULL;
    assert_ok(cert_parse(r.der, &c, &ei));
    g.spki = cert_spki(c);
    assert_int_equal(ca_issue(f->ca, &g, &a, &r, &ei), TD_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_revoked_unknown),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_no_wait),
        cmocka_unit_test(test_another_process),
        cmocka_unit_test(test_nonce),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_get_forms),
        cmocka_unit_test(test_http_caching),
        cmocka_unit_test(test_ca_certificates),
        cmocka_unit_test(test_signer_checks_windows),
        cmocka_unit_test(test_openssl),
        cmocka_unit_test(test_signer_away),
    };
    return cmocka_run_group_tests(tests, fixture_up, fixture_down);
}
