/* The signer on its socket, spoken to byte by byte: what it answers, what it refuses. */
#include "ca_test.h"

#include <sys/socket.h>

#include "acme/ca/signer_spawn.h"
#include "acme/signer/proto/signer_msg.h"
#include "mdm/base/hex.h"
#include "mdm/base/limits.h"

#define WAIT_MS 20000

struct channel {
    struct fixture f;
    int fd;
    pid_t pid;
    uint32_t generation;
    uint8_t issuer[CERT_SKI_SIZE];
    uint8_t in[LIMIT_SIGNER_MSG];
    struct span spki[5]; /* by enum key_type, P-256 to Ed25519 */
    struct arena arena;
};

/* The next message; its spans point into ch->in. */
static void recv_msg(struct channel *ch, struct signer_msg *m)
{
    struct pollfd p = {.fd = ch->fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    ssize_t n = recv(ch->fd, ch->in, sizeof ch->in, 0);
    assert_true(n > 0);
    *m = (struct signer_msg){0};
    assert_ok(signer_msg_get(span_of(ch->in, (size_t)n), m));
}

static void send_raw(struct channel *ch, struct span s)
{
    assert_int_equal(send(ch->fd, s.p, s.n, MSG_NOSIGNAL), (ssize_t)s.n);
}

static void send_msg(struct channel *ch, const struct signer_msg *m)
{
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    assert_ok(signer_msg_put(&b, m));
    send_raw(ch, buf_view(&b));
}

static void expect_hello(struct channel *ch)
{
    struct signer_msg m;
    do
        recv_msg(ch, &m);
    while (m.type == SIGNER_MSG_GONE);
    assert_int_equal(m.type, SIGNER_MSG_HELLO);
    assert_true(m.u.hello.issuers[0].responder.n > 0);
    ch->generation = m.generation;
    cert_auto *issuing = NULL;
    assert_ok(cert_parse(m.u.hello.issuers[0].cert, &issuing, NULL));
    assert_true(cert_ski(issuing, ch->issuer));
}

static int up(void **state)
{
    static struct channel ch;
    struct errinfo ei = {0};
    assert_ok(crypt_init(&ei));
    fixture_dir(&ch.f);
    fixture_init_ca(&ch.f);
    arena_init(&ch.arena, 1 << 20);
    struct signer_spawn s = {TD_SIGNER, ch.f.ca_dir, NULL, NULL};
    assert_ok(signer_spawn(&s, &ch.fd, &ch.pid, &ei));
    expect_hello(&ch);
    static const enum key_type types[] = {KEY_P256, KEY_P384, KEY_RSA};
    for (size_t i = 0; i < TD_NITEMS(types); i++) {
        key_auto *k = NULL;
        assert_ok(key_generate(types[i], &k, &ei));
        assert_ok(key_spki(k, &ch.arena, &ch.spki[types[i]], &ei));
    }
    /* the generator point of P-521 and the first RFC 8032 key: no private key is needed */
    static const char p521[] = "30819b301006072a8648ce3d020106052b81040023038186000400c6858e06b7040"
                               "4e9cd9e3ecb662395b4429c64"
                               "8139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c"
                               "1856a429bf97e7e31c2e5bd66"
                               "011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662"
                               "c97ee72995ef42640c550b901"
                               "3fad0761353c7086a272c24088be94769fd16650";
    static const char ed[] =
        "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325"
        "af021a68f707511a";
    static uint8_t p521_der[158], ed_der[44];
    assert_ok(hex_dec(span_str(p521), p521_der, sizeof p521_der));
    assert_ok(hex_dec(span_str(ed), ed_der, sizeof ed_der));
    ch.spki[KEY_P521] = SPAN_ARR(p521_der);
    ch.spki[KEY_ED25519] = SPAN_ARR(ed_der);
    *state = &ch;
    return 0;
}

static int down(void **state)
{
    struct channel *ch = *state;
    close(ch->fd);
    signer_spawn_reap(ch->pid, WAIT_MS);
    arena_free(&ch->arena);
    fixture_free(&ch->f);
    return 0;
}

static struct signer_msg good_issue(struct channel *ch, uint64_t id)
{
    struct signer_msg m = {.type = SIGNER_MSG_ISSUE, .generation = ch->generation, .id = id};
    m.u.issue = (struct signer_msg_issue){.profile = SPAN_LIT("management"),
                                          .device_serial = SPAN_LIT("C02XK0AAJGH5"),
                                          .spki = ch->spki[KEY_P256]};
    memset(m.u.issue.evidence_sha256, 1, SHA256_SIZE);
    return m;
}

static void expect_refused(struct channel *ch, uint64_t id, enum td_err code, const char *reason)
{
    struct signer_msg m;
    recv_msg(ch, &m);
    assert_int_equal(m.type, SIGNER_MSG_REFUSED);
    assert_int_equal(m.id, id);
    if (m.u.refused.code != code)
        fail_msg("code %s: %.*s", err_name(m.u.refused.code), (int)m.u.refused.text.n,
                 (const char *)m.u.refused.text.p);
    assert_true(m.u.refused.text.n > 0);
    if (reason)
        assert_true(span_eq_str(m.u.refused.reason, reason));
}

static void expect_signed(struct channel *ch, uint64_t id)
{
    struct signer_msg m;
    recv_msg(ch, &m);
    if (m.type == SIGNER_MSG_REFUSED)
        fail_msg("refused: %.*s", (int)m.u.refused.text.n, (const char *)m.u.refused.text.p);
    assert_int_equal(m.type, SIGNER_MSG_SIGNED);
    assert_int_equal(m.id, id);
}

static void test_issue_keys(void **state)
{
    struct channel *ch = *state;
    static const struct {
        enum key_type type;
        enum td_err code;
    } rows[] = {{KEY_P256, TD_OK},
                {KEY_P384, TD_OK},
                {KEY_P521, TD_UNSUPPORTED},
                {KEY_RSA, TD_UNSUPPORTED},
                {KEY_ED25519, TD_UNSUPPORTED}};
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct signer_msg m = good_issue(ch, 100 + i);
        m.u.issue.spki = ch->spki[rows[i].type];
        send_msg(ch, &m);
        if (rows[i].code == TD_OK)
            expect_signed(ch, 100 + i);
        else
            expect_refused(ch, 100 + i, rows[i].code, "key-unsupported");
    }
}

static void test_issue_refusals(void **state)
{
    struct channel *ch = *state;
    static uint8_t zero[64];
    static const uint8_t x25519[44] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b,
                                       0x65, 0x6e, 0x03, 0x21, 0x00, 9};
    uint8_t trailing[200];
    struct span good = ch->spki[KEY_P256];
    memcpy(trailing, good.p, good.n);
    trailing[good.n] = 0;
    char long_serial[LIMIT_SERIAL + 2];
    memset(long_serial, 'A', sizeof long_serial - 1);
    long_serial[sizeof long_serial - 1] = 0;
    const struct {
        struct span profile, serial, spki;
        bool evidence;
        enum td_err code;
        const char *reason;
    } rows[] = {
        {SPAN_LIT("management"), SPAN_LIT("X1"), good, false, TD_FORBIDDEN, "evidence-missing"},
        {SPAN_LIT("access"), SPAN_LIT("X1"), good, false, TD_FORBIDDEN, "evidence-missing"},
        {SPAN_LIT("nonsense"), SPAN_LIT("X1"), good, true, TD_UNSUPPORTED, "profile-unknown"},
        {SPAN_LIT("Management"), SPAN_LIT("X1"), good, true, TD_UNSUPPORTED, "profile-unknown"},
        {SPAN_LIT("management\0"), SPAN_LIT("X1"), good, true, TD_UNSUPPORTED, "profile-unknown"},
        {SPAN_LIT("tls-server"), SPAN_LIT("a.example"), good, true, TD_UNSUPPORTED,
         "profile-unknown"},
        {SPAN_LIT("ocsp-responder"), SPAN_LIT("X1"), good, true, TD_UNSUPPORTED, "profile-unknown"},
        {SPAN_LIT("management"), SPAN_LIT(""), good, true, TD_INVAL, "device-serial"},
        {SPAN_LIT("management"), SPAN_LIT("A B"), good, true, TD_INVAL, "device-serial"},
        {SPAN_LIT("management"), SPAN_LIT("A\"B"), good, true, TD_INVAL, "device-serial"},
        {SPAN_LIT("management"), SPAN_LIT("A\nB"), good, true, TD_INVAL, "device-serial"},
        {SPAN_LIT("management"), SPAN_LIT("A\0B"), good, true, TD_INVAL, "device-serial"},
        {SPAN_LIT("management"), SPAN_LIT("-AB"), good, true, TD_INVAL, "device-serial"},
        {SPAN_LIT("management"), SPAN_LIT("\xc3\xa4"), good, true, TD_INVAL, "device-serial"},
        {SPAN_LIT("management"), span_of(long_serial, LIMIT_SERIAL + 1), good, true, TD_INVAL,
         "device-serial"},
        {SPAN_LIT("management"), SPAN_LIT("X1"), span_of(zero, 64), true, TD_PARSE, NULL},
        {SPAN_LIT("management"), SPAN_LIT("X1"), span_sub(good, 0, good.n - 1), true, TD_PARSE,
         NULL},
        {SPAN_LIT("management"), SPAN_LIT("X1"), span_of(trailing, good.n + 1), true, TD_PARSE,
         NULL},
        {SPAN_LIT("management"), SPAN_LIT("X1"), SPAN_ARR(x25519), true, TD_UNSUPPORTED, NULL},
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        struct signer_msg m = good_issue(ch, 200 + i);
        m.u.issue.profile = rows[i].profile;
        m.u.issue.device_serial = rows[i].serial;
        m.u.issue.spki = rows[i].spki;
        if (!rows[i].evidence)
            memset(m.u.issue.evidence_sha256, 0, SHA256_SIZE);
        send_msg(ch, &m);
        expect_refused(ch, 200 + i, rows[i].code, rows[i].reason);
    }
    struct signer_msg m = good_issue(ch, 299);
    m.u.issue.device_serial = span_of(long_serial, LIMIT_SERIAL); /* at the limit */
    send_msg(ch, &m);
    expect_signed(ch, 299);
}

/* Whole datagrams that are no request: each gets its refusal, and the signer goes on. */
static void test_unknown_messages(void **state)
{
    struct channel *ch = *state;
    struct signer_msg m = good_issue(ch, 300);
    buf_auto b;
    buf_init(&b, LIMIT_SIGNER_MSG);
    assert_ok(signer_msg_put(&b, &m));
    uint8_t *raw = b.p;
    static const struct {
        size_t at;
        uint8_t value;
        enum td_err code;
    } rows[] = {
        {0, SIGNER_MSG_VERSION + 1, TD_UNSUPPORTED}, /* version */
        {0, 0, TD_UNSUPPORTED},
        {1, 0, TD_UNSUPPORTED}, /* type */
        {1, SIGNER_MSG_TYPE_MAX, TD_UNSUPPORTED},
        {1, 0xff, TD_UNSUPPORTED},
        {1, SIGNER_MSG_OCSP, TD_PARSE}, /* another type's body */
    };
    for (size_t i = 0; i < TD_NITEMS(rows); i++) {
        uint8_t keep = raw[rows[i].at];
        raw[rows[i].at] = rows[i].value;
        send_raw(ch, buf_view(&b));
        expect_refused(ch, 300, rows[i].code, "message");
        raw[rows[i].at] = keep;
    }
    /* every truncation that still has a header, then one byte too many */
    for (size_t n = SIGNER_MSG_HEAD_SIZE; n < b.n; n++) {
        send_raw(ch, span_of(b.p, n));
        expect_refused(ch, 300, TD_PARSE, "message");
    }
    assert_ok(buf_u8(&b, 0));
    send_raw(ch, buf_view(&b));
    expect_refused(ch, 300, TD_PARSE, "message");

    /* messages that exist, but are not requests */
    struct signer_msg gone = {.type = SIGNER_MSG_GONE, .generation = ch->generation, .id = 301};
    send_msg(ch, &gone);
    expect_refused(ch, 301, TD_UNSUPPORTED, "message");
    struct signer_msg hello = {.type = SIGNER_MSG_HELLO, .generation = ch->generation, .id = 302};
    hello.u.hello = (struct signer_msg_hello){.root = SPAN_LIT("a"),
                                              .issuers = {{SPAN_LIT("b"), SPAN_LIT("c")}},
                                              .n = 1,
                                              .crl_shards = 1};
    send_msg(ch, &hello);
    expect_refused(ch, 302, TD_UNSUPPORTED, "message");

    struct signer_msg stale = good_issue(ch, 303);
    stale.generation--;
    send_msg(ch, &stale);
    expect_refused(ch, 303, TD_BUSY, "stale");

    struct signer_msg good = good_issue(ch, 304);
    send_msg(ch, &good);
    expect_signed(ch, 304);
}

/* Too short for a header, too long for a message: the worker ends, another takes its place. */
static void test_framing_errors_end_the_worker(void **state)
{
    struct channel *ch = *state;
    static uint8_t bytes[LIMIT_SIGNER_MSG + 1];
    memset(bytes, 0xff, sizeof bytes);
    const size_t sizes[] = {1, SIGNER_MSG_HEAD_SIZE - 1, LIMIT_SIGNER_MSG + 1};
    for (size_t i = 0; i < TD_NITEMS(sizes); i++) {
        uint32_t before = ch->generation;
        send_raw(ch, span_of(bytes, sizes[i]));
        expect_hello(ch);
        assert_int_equal(ch->generation, before + 1);
    }
    send_raw(ch, span_of(bytes, LIMIT_SIGNER_MSG)); /* at the limit: only not understood */
    struct signer_msg m;
    recv_msg(ch, &m);
    assert_int_equal(m.type, SIGNER_MSG_REFUSED);
    assert_int_equal(m.u.refused.code, TD_UNSUPPORTED);
}

/* Many requests behind each other come back in order, with the audit chain whole. */
static void test_batch(void **state)
{
    struct channel *ch = *state;
    enum { MANY = 60 };
    for (uint64_t i = 0; i < MANY; i++) {
        struct signer_msg m = good_issue(ch, 400 + i);
        if (i % 7 == 3)
            m.u.issue.device_serial = SPAN_LIT("not valid");
        send_msg(ch, &m);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        if (i % 7 == 3)
            expect_refused(ch, 400 + i, TD_INVAL, "device-serial");
        else
            expect_signed(ch, 400 + i);
    }
    char out[500];
    assert_int_equal(RUN(out, TD_SIGNER, "audit", "--dir", ch->f.ca_dir), 0);
    assert_non_null(strstr(out, "the chain holds"));
}

/* Signals that stop a server do not stop the signer; closing the channel does. */
static void test_leaves_last(void **state)
{
    struct channel *ch = *state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < TD_NITEMS(signals); i++) {
        assert_int_equal(kill(ch->pid, signals[i]), 0);
        struct signer_msg m = good_issue(ch, 500 + i);
        send_msg(ch, &m);
        expect_signed(ch, 500 + i);
    }
    close(ch->fd);
    int status = -1;
    assert_int_equal(waitpid(ch->pid, &status, 0), ch->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct errinfo ei = {0};
    struct signer_spawn s = {TD_SIGNER, ch->f.ca_dir, NULL, NULL};
    assert_ok(signer_spawn(&s, &ch->fd, &ch->pid, &ei));
    expect_hello(ch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_issue_keys),
        cmocka_unit_test(test_issue_refusals),
        cmocka_unit_test(test_unknown_messages),
        cmocka_unit_test(test_framing_errors_end_the_worker),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_leaves_last),
    };
    return cmocka_run_group_tests(tests, up, down);
}
