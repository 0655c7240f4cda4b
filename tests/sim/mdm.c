#include "tests/sim/mdm.h"

#include "mdm/base/b64.h"
#include "tests/sim/plistw.h"

#include <openssl/sha.h>

#define TYPE_CHECKIN "application/x-apple-aspen-mdm-checkin"
#define TYPE_CONNECT "application/x-apple-aspen-mdm; charset=UTF-8"
enum { BODY_MAX = 8388608, SESSION_MAX = 1000, ARENA_MAX = 33554432, SIGNATURE_MAX = 32768 };

static void show_identity(struct mdm *m)
{
    if (m->auth == MDM_AUTH_SIGNATURE)
        return;
    m->http.cert = m->d->cert;
    m->http.key = m->d->key;
}

void mdm_init(struct mdm *m, struct device *d, SSL_CTX *tls, struct pki *pki, enum mdm_auth auth,
              int timeout_ms)
{
    *m = (struct mdm){.d = d, .auth = auth};
    m->env = (struct answers_env){.pki = pki, .tls = pki ? tls : NULL, .timeout_ms = timeout_ms};
    http_init(&m->http, tls, "MDM/1.0", timeout_ms);
    show_identity(m);
}

void mdm_free(struct mdm *m)
{
    http_close(&m->http);
}

/* --- transport --- */

/* Mdm-Signature: base64 of a detached CMS over the exact body, the device's certificate inside. */
static enum td_err signature(struct mdm *m, struct span body, struct buf *b, struct errinfo *ei)
{
    unsigned flags = CMS_DETACHED | CMS_BINARY | CMS_NOSMIMECAP;
    ossl_auto(BIO) in = BIO_new_mem_buf(body.p, (int)body.n);
    ossl_auto(CMS_ContentInfo) c = in ? CMS_sign(m->d->cert, m->d->key, NULL, in, flags) : NULL;
    unsigned char *der = NULL;
    int n = c ? i2d_CMS_ContentInfo(c, &der) : -1;
    if (n <= 0)
        return ossl_fail(ei, "Mdm-Signature");
    enum td_err e = b64_enc(b, span_of(der, (size_t)n));
    OPENSSL_free(der);
    return e;
}

enum td_err mdm_put(struct mdm *m, const char *step, const char *url, bool checkin,
                    struct span body, struct httpread_resp *ret, struct errinfo *ei)
{
    buf_auto sig;
    buf_init(&sig, SIGNATURE_MAX);
    *ret = (struct httpread_resp){0};
    bool sign =
        m->auth == MDM_AUTH_SIGNATURE || (m->auth == MDM_AUTH_PROFILE && m->d->sign_message);
    if (sign)
        TD_TRY(signature(m, body, &sig, ei));
    struct http_req q = {.method = "PUT",
                         .url = url,
                         .content_type = checkin ? TYPE_CHECKIN : TYPE_CONNECT,
                         .header_name = sign ? "Mdm-Signature" : NULL,
                         .header_value = sign ? buf_cstr(&sig) : NULL,
                         .body = body,
                         .has_body = true};
    enum td_err e = http_do(&m->http, &q, ret, ei);
    if (e != TD_OK)
        return refusal_none(&m->why, step, e, ei);
    if (ret->status / 100 != 2)
        return refusal_set(&m->why, step, ret, ei);
    return TD_OK;
}

/* --- check-in --- */

/* Tokens of APNs, made from the serial number so that they stay the same. */
static void push_token(const struct device *d, const char *what, uint8_t out[static 32])
{
    char text[128];
    int n = snprintf(text, sizeof(text), "%s:%s", what, d->serial);
    SHA256((const unsigned char *)text, (size_t)n, out);
}

static enum td_err checkin(struct mdm *m, const char *step, struct buf *b, struct errinfo *ei)
{
    httpread_auto r = {0};
    plistw_end(b);
    TD_TRY(mdm_put(m, step, m->d->checkin_url, true, buf_view(b), &r, ei));
    if (r.body.n)
        return refusal_text(&m->why, step, r.status, "the answer is not empty", ei);
    return TD_OK;
}

static void checkin_begin(const struct mdm *m, const char *type, struct buf *b)
{
    buf_init(b, BODY_MAX);
    plistw_begin(b);
    plistw_str(b, "MessageType", type);
    plistw_str(b, "Topic", m->d->topic);
    plistw_str(b, "UDID", m->d->udid);
}

enum td_err mdm_authenticate(struct mdm *m, struct errinfo *ei)
{
    const struct device *d = m->d;
    const struct posture says = device_says(d);
    buf_auto b;
    checkin_begin(m, "Authenticate", &b);
    plistw_str(&b, "SerialNumber", d->serial);
    if (says.os[0])
        plistw_str(&b, "OSVersion", says.os);
    if (says.build[0])
        plistw_str(&b, "BuildVersion", says.build);
    plistw_str(&b, "ProductName", d->product);
    if (d->mac) {
        plistw_str(&b, "DeviceName", d->name);
        plistw_str(&b, "ModelName", d->model_name);
        plistw_str(&b, "Model", d->model);
    }
    return checkin(m, "Authenticate", &b, ei);
}

enum td_err mdm_token_update(struct mdm *m, struct errinfo *ei)
{
    uint8_t token[32], unlock[32];
    char magic[37];
    buf_auto b;
    checkin_begin(m, "TokenUpdate", &b);
    push_token(m->d, "token", token);
    push_token(m->d, "unlock", unlock);
    /* PushMagic is an opaque string; Apple's looks like a UUID */
    snprintf(magic, sizeof(magic),
             "%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X"
             "%02X%02X",
             token[0], token[1], token[2], token[3], token[4], token[5], token[6], token[7],
             token[8], token[9], token[10], token[11], token[12], token[13], token[14], token[15]);
    plistw_data(&b, "Token", SPAN_ARR(token));
    plistw_str(&b, "PushMagic", magic);
    if (!m->d->mac)
        plistw_data(&b, "UnlockToken", SPAN_ARR(unlock));
    plistw_bool(&b, "AwaitingConfiguration", false);
    return checkin(m, "TokenUpdate", &b, ei);
}

enum td_err mdm_check_out(struct mdm *m, struct errinfo *ei)
{
    buf_auto b;
    checkin_begin(m, "CheckOut", &b);
    return checkin(m, "CheckOut", &b, ei);
}

/* --- commands --- */

void mdm_report(const struct mdm *m, const char *status, const char *uuid, const char *xml,
                struct buf *b)
{
    plistw_begin(b);
    plistw_str(b, "Status", status);
    plistw_str(b, "UDID", m->d->udid);
    if (uuid)
        plistw_str(b, "CommandUUID", uuid);
    plistw_raw(b, xml);
    plistw_end(b);
}

enum td_err mdm_command(struct mdm *m, const struct httpread_resp *r, struct arena *a,
                        const char **ret_uuid, struct plist **ret_command, struct errinfo *ei)
{
    struct plist *root = NULL;
    *ret_uuid = NULL;
    *ret_command = NULL;
    if (r->body.n == 0)
        return TD_OK;
    if (plist_parse(buf_view(&r->body), a, &root, ei) != TD_OK)
        return refusal_text(&m->why, "connect", r->status, "the command is no plist", ei);
    const char *uuid = NULL;
    if (plist_str(root, "CommandUUID", a, &uuid) != TD_OK || !plist_get(root, "Command"))
        return refusal_text(&m->why, "connect", r->status, "no CommandUUID or no Command", ei);
    *ret_uuid = uuid;
    *ret_command = plist_get(root, "Command");
    return TD_OK;
}

struct session {
    struct mdm *m;
    struct mdm_counts *counts;
    struct buf body;   /* the report to send next */
    char seen[16][40]; /* CommandUUIDs answered NotNow in this session */
    size_t nseen;
    bool changed, removed, died;
};

/* True when the command is to be put off: once per session, as MB-45 expects. */
static bool put_off(struct session *s, const char *uuid, const struct plist *command,
                    struct arena *a)
{
    const char *type = "";
    bool named = false;
    if (plist_str(command, "RequestType", a, &type) != TD_OK)
        return false;
    for (size_t i = 0; i < s->m->nnotnow; i++) {
        const char *w = s->m->notnow[i];
        named = named || !strcmp(w, "all") || !strcmp(w, type) || !strcmp(w, uuid);
    }
    for (size_t i = 0; i < s->nseen; i++)
        named = named && strcmp(s->seen[i], uuid) != 0;
    if (!named || s->nseen == TD_NITEMS(s->seen))
        return false;
    snprintf(s->seen[s->nseen++], sizeof(s->seen[0]), "%s", uuid);
    return true;
}

/* A device whose management identity was replaced announces itself with the new one (MB-27). */
static enum td_err come_back(struct mdm *m, struct errinfo *ei)
{
    http_close(&m->http);
    show_identity(m);
    TD_TRY(mdm_authenticate(m, ei));
    return mdm_token_update(m, ei);
}

static enum td_err execute(struct session *s, const char *uuid, const struct plist *command,
                           struct arena *a, struct errinfo *ei)
{
    struct answers r;
    buf_reset(&s->body);
    if (put_off(s, uuid, command, a)) {
        s->counts->notnow++;
        mdm_report(s->m, "NotNow", uuid, "", &s->body);
        return s->body.err;
    }
    enum td_err e = answers_run(s->m->d, &s->m->env, command, a, &r, ei);
    s->died = r.died;
    if (e == TD_OK && r.renewed)
        e = come_back(s->m, ei);
    s->counts->commands++;
    s->counts->errors += r.status != ANSWERS_ACKNOWLEDGED;
    s->changed = s->changed || r.changed;
    s->removed = s->removed || r.enrollment_removed;
    if (e == TD_OK)
        mdm_report(s->m, answers_word(r.status), uuid, buf_cstr(&r.xml), &s->body);
    buf_free(&r.xml);
    return e != TD_OK ? e : s->body.err;
}

/* One report and the command that its answer holds; *ret_more false at the end. */
static enum td_err turn(struct session *s, bool *ret_more, struct errinfo *ei)
{
    const char *uuid = NULL;
    struct plist *command = NULL;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    httpread_auto r = {0};
    bool was_removed = s->removed;
    s->counts->reports++;
    TD_TRY(mdm_put(s->m, "connect", s->m->d->server_url, false, buf_view(&s->body), &r, ei));
    TD_TRY(mdm_command(s->m, &r, &a, &uuid, &command, ei));
    *ret_more = uuid && !was_removed;
    enum td_err e = *ret_more ? execute(s, uuid, command, &a, ei) : TD_OK;
    *ret_more = *ret_more && !s->died;
    return e;
}

/* The answers that make a device drop its enrolment. */
static bool unenrolled(const struct refusal *r)
{
    static const char code[] = "com.apple.unrecognized.device";
    return r->step && (r->status == 401 || (r->status == 403 && (strcmp(r->type, code) == 0 ||
                                                                 strstr(r->detail, code))));
}

enum td_err mdm_session(struct mdm *m, struct mdm_counts *counts, bool *ret_changed,
                        struct errinfo *ei)
{
    struct session s = {.m = m, .counts = counts};
    bool more = true;
    unsigned n = 0;
    buf_init(&s.body, BODY_MAX);
    mdm_report(m, "Idle", NULL, "", &s.body);
    enum td_err e = s.body.err;
    while (e == TD_OK && more && ++n <= SESSION_MAX)
        e = turn(&s, &more, ei);
    buf_free(&s.body);
    if (e == TD_OK && more)
        e = refusal_text(&m->why, "connect", 200, "the session does not end", ei);
    if (e == TD_OK && s.removed && m->d->checkout_when_removed)
        e = mdm_check_out(m, ei);
    if (e == TD_FORBIDDEN && unenrolled(&m->why))
        m->d->removed = s.changed = true;
    *ret_changed = s.changed;
    return e;
}
