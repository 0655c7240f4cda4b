#include "tests/sim/fault.h"

#include "mdm/base/uuid.h"
#include "tests/sim/api.h"
#include "tests/sim/enroll.h"
#include "tests/sim/plistw.h"

enum { ARENA_MAX = 16777216 };

struct kind;

struct attempt {
    const struct kind *kind;
    const struct opts *o;
    struct enroll_ctx c;
    struct api api;
    struct device device;
    struct arena a;
    struct refusal why; /* what the server refused, step NULL when nothing */
    char said[256];     /* what an accepted attempt has to say */
};

typedef enum td_err (*attempt_fn)(struct attempt *t, struct errinfo *ei);

/* step and type: where and with which problem a correct server refuses; NULL: not told. */
struct kind {
    const char *name;
    attempt_fn fn;
    bool accept; /* a correct server accepts */
    bool mdm;    /* an enrolled device of the state directory does it */
    enum acme_fault fault;
    const char *step, *type;
    const char *doc;
};

/* --- enrolment --- */

static enum td_err fetch(struct attempt *t, const char **ret_url, struct profile *p,
                         struct errinfo *ei)
{
    if (t->o->put_inventory)
        TD_TRY(api_put_device(&t->api, t->device.serial, t->device.model_name, t->device.name, ei));
    *ret_url = t->o->url;
    if (!*ret_url)
        TD_TRY(api_invite(&t->api, t->device.serial, &t->a, ret_url, ei));
    return enroll_fetch(&t->c, *ret_url, &t->a, p, &t->why, ei);
}

static enum td_err acme(struct attempt *t, struct pki *pki, const struct profile *p,
                        struct acme_result *res, struct errinfo *ei)
{
    http_auto http;
    http_init(&http, t->c.tls, NULL, enroll_timeout_ms(t->o));
    struct acme_job job = {.http = &http,
                           .pki = pki,
                           .profile = p,
                           .device = &t->device,
                           .key_size = (int)t->o->key_size,
                           .fault = t->kind->fault,
                           .error_text = t->o->error_text};
    return acme_run(&job, res, &t->why, ei);
}

/* Enrols up to the certificate with the kind's ACME fault. */
static enum td_err acme_fault(struct attempt *t, struct errinfo *ei)
{
    struct profile p;
    struct acme_result res = {0};
    const char *url = NULL;
    TD_TRY(fetch(t, &url, &p, ei));
    enum td_err e = acme(t, t->c.pki, &p, &res, ei);
    if (e == TD_OK)
        snprintf(t->said, sizeof(t->said), "certificate issued, shortest JWS signature %zu bytes",
                 res.shortest);
    acme_result_free(&res);
    return e;
}

static enum td_err foreign_ca(struct attempt *t, struct errinfo *ei)
{
    char dir[1024];
    struct profile p;
    struct pki *pki = NULL;
    struct acme_result res = {0};
    const char *url = NULL;
    snprintf(dir, sizeof(dir), "%s/foreign", t->o->pki);
    TD_TRY(pki_load(dir, &pki, ei));
    enum td_err e = fetch(t, &url, &p, ei);
    if (e == TD_OK)
        e = acme(t, pki, &p, &res, ei);
    acme_result_free(&res);
    pki_free(pki);
    return e;
}

static enum td_err unlisted_serial(struct attempt *t, struct errinfo *ei)
{
    struct profile p;
    struct acme_result res = {0};
    const char *url = NULL;
    TD_TRY(fetch(t, &url, &p, ei));
    TD_TRY(api_delete_device(&t->api, t->device.serial, ei));
    enum td_err e = acme(t, t->c.pki, &p, &res, ei);
    acme_result_free(&res);
    return e;
}

static enum td_err replayed_identifier(struct attempt *t, struct errinfo *ei)
{
    struct profile p;
    struct acme_result first = {0}, second = {0};
    const char *url = NULL;
    TD_TRY(fetch(t, &url, &p, ei));
    enum td_err e = acme(t, t->c.pki, &p, &first, ei);
    if (e != TD_OK) { /* the honest attempt must succeed, or nothing was replayed */
        t->why.step = NULL;
        return err_set(ei, TD_UPSTREAM, "the first enrolment failed: %s", t->why.detail);
    }
    e = acme(t, t->c.pki, &p, &second, ei);
    acme_result_free(&first);
    acme_result_free(&second);
    return e;
}

static enum td_err reused_invitation(struct attempt *t, struct errinfo *ei)
{
    struct profile p;
    const char *url = NULL;
    enum td_err e = fetch(t, &url, &p, ei);
    if (e != TD_OK) {
        t->why.step = NULL;
        return e;
    }
    return enroll_fetch(&t->c, url, &t->a, &p, &t->why, ei);
}

/* --- MDM --- */

/* Sends a report; *ret_uuid is the CommandUUID of the answer, NULL when it is empty. */
static enum td_err report(struct mdm *m, struct attempt *t, struct span body, const char **ret_uuid,
                          struct errinfo *ei)
{
    struct plist *command = NULL;
    httpread_auto r = {0};
    TD_TRY(mdm_put(m, "connect", m->d->server_url, false, body, &r, ei));
    return mdm_command(m, &r, &t->a, ret_uuid, &command, ei);
}

static enum td_err say(struct mdm *m, struct attempt *t, const char *status, const char *uuid,
                       const char **ret_next, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, 65536);
    mdm_report(m, status, uuid, "", &b);
    return report(m, t, buf_view(&b), ret_next, ei);
}

/* Empties the queue, queues one command when the API is at hand, and fetches it. */
static enum td_err one_command(struct mdm *m, struct attempt *t, const char **ret_uuid,
                               struct errinfo *ei)
{
    struct mdm_counts n = {0};
    bool changed = false;
    const char *queued = NULL;
    if (t->o->api) {
        TD_TRY(mdm_session(m, &n, &changed, ei));
        if (changed)
            TD_TRY(device_save(m->d, t->o->state, ei));
        TD_TRY(api_command(&t->api, m->d->serial, &t->a, &queued, ei));
    }
    TD_TRY(say(m, t, "Idle", NULL, ret_uuid, ei));
    if (!*ret_uuid)
        return err_set(ei, TD_STATE, "no command is queued for %s", m->d->serial);
    if (queued && strcmp(queued, *ret_uuid) != 0)
        return err_set(ei, TD_STATE, "another command than the one queued was served");
    return TD_OK;
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* What the server did wrong: the attempt "got through" in the bad sense. */
static enum td_err misbehaved(struct attempt *t, const char *what, struct errinfo *ei)
{
    return refusal_text(&t->why, "connect", 200, what, ei);
}

static enum td_err notnow(struct mdm *m, struct attempt *t, struct errinfo *ei)
{
    const char *uuid = NULL, *next = NULL;
    TD_TRY(one_command(m, t, &uuid, ei));
    TD_TRY(say(m, t, "NotNow", uuid, &next, ei));
    if (same(next, uuid))
        return misbehaved(t, "the command was served again in the session it was put off", ei);
    TD_TRY(say(m, t, "Idle", NULL, &next, ei));
    if (!same(next, uuid))
        return misbehaved(t, "the command was not served again at the next Idle", ei);
    TD_TRY(say(m, t, "Acknowledged", uuid, &next, ei));
    TD_TRY(say(m, t, "Idle", NULL, &next, ei));
    if (same(next, uuid))
        return misbehaved(t, "the acknowledged command was served again", ei);
    snprintf(t->said, sizeof(t->said), "put off, served again at the next Idle, acknowledged");
    return TD_OK;
}

static enum td_err repeated_uuid(struct mdm *m, struct attempt *t, struct errinfo *ei)
{
    const char *uuid = NULL, *next = NULL;
    TD_TRY(one_command(m, t, &uuid, ei));
    TD_TRY(say(m, t, "Acknowledged", uuid, &next, ei));
    TD_TRY(say(m, t, "Acknowledged", uuid, &next, ei));
    TD_TRY(say(m, t, "Idle", NULL, &next, ei));
    if (same(next, uuid))
        return misbehaved(t, "the acknowledged command was served again", ei);
    snprintf(t->said, sizeof(t->said), "the second report was accepted, nothing was repeated");
    return TD_OK;
}

static enum td_err unknown_uuid(struct mdm *m, struct attempt *t, struct errinfo *ei)
{
    char uuid[UUID_SIZE];
    const char *next = NULL;
    uuid_new(&rng_system, uuid);
    TD_TRY(say(m, t, "Acknowledged", uuid, &next, ei));
    snprintf(t->said, sizeof(t->said), "a report for an unknown CommandUUID was accepted");
    return TD_OK;
}

/* One report that no parser likes; the command must be retired all the same. */
static enum td_err undecodable_once(struct mdm *m, struct attempt *t, bool broken,
                                    struct errinfo *ei)
{
    const char *uuid = NULL, *next = NULL;
    buf_auto b;
    buf_init(&b, 65536);
    TD_TRY(one_command(m, t, &uuid, ei));
    mdm_report(m, "Acknowledged", uuid,
               "<key>QueryResponses</key><dict><key>BatteryLevel</key><real>nan</real></dict>\n",
               &b);
    struct span body = buf_view(&b);
    if (broken) /* cut inside the last elements */
        body = span_sub(body, 0, body.n - sizeof("ict>\n</dict>\n</plist>"));
    TD_TRY(report(m, t, body, &next, ei));
    TD_TRY(say(m, t, "Idle", NULL, &next, ei));
    if (same(next, uuid))
        return misbehaved(t, "the command with the undecodable result was served again", ei);
    return TD_OK;
}

static enum td_err undecodable(struct mdm *m, struct attempt *t, struct errinfo *ei)
{
    TD_TRY(undecodable_once(m, t, false, ei));
    if (t->o->api)
        TD_TRY(undecodable_once(m, t, true, ei));
    snprintf(t->said, sizeof(t->said), "the command was retired%s",
             t->o->api ? ", for a NaN and for a broken plist" : "");
    return TD_OK;
}

static const struct {
    const char *name;
    enum td_err (*fn)(struct mdm *m, struct attempt *t, struct errinfo *ei);
} mdm_kinds[] = {
    {"notnow", notnow},
    {"repeated-uuid", repeated_uuid},
    {"unknown-uuid", unknown_uuid},
    {"undecodable-result", undecodable},
};

static enum td_err mdm_fault(struct attempt *t, struct errinfo *ei)
{
    mdm_auto m;
    enum td_err e = TD_INTERNAL;
    mdm_init(&m, &t->device, t->c.tls, t->c.pki, enroll_auth(t->o), enroll_timeout_ms(t->o));
    for (size_t i = 0; i < TD_NITEMS(mdm_kinds); i++) {
        if (strcmp(mdm_kinds[i].name, t->kind->name) == 0)
            e = mdm_kinds[i].fn(&m, t, ei);
    }
    if (m.why.step)
        t->why = m.why;
    return e;
}

/* --- the table --- */

#define CHALLENGE "acme challenge", "badAttestationStatement"
#define FINALIZE "acme finalize", "badCSR"
#define NEW_ORDER "acme newOrder"

static const struct kind kinds[] = {
    {"wrong-key", acme_fault, false, false, ACME_WRONG_KEY, FINALIZE,
     "the attested key is not the one of the CSR: badCSR at finalize"},
    {"csr-other-key", acme_fault, false, false, ACME_CSR_OTHER_KEY, FINALIZE,
     "the CSR asks for a key that was not attested: badCSR at finalize"},
    {"stale-freshness", acme_fault, false, false, ACME_STALE_FRESHNESS, CHALLENGE,
     "attestation for an earlier token: challenge invalid, badAttestationStatement"},
    {"missing-freshness", acme_fault, false, false, ACME_MISSING_FRESHNESS, CHALLENGE,
     "no freshness extension: challenge invalid, badAttestationStatement"},
    {"foreign-ca", foreign_ca, false, false, ACME_NO_FAULT, CHALLENGE,
     "attestation by another CA: challenge invalid, badAttestationStatement"},
    {"wrong-serial", acme_fault, false, false, ACME_WRONG_SERIAL, CHALLENGE,
     "another device's attestation: challenge invalid, badAttestationStatement"},
    {"unlisted-serial", unlisted_serial, false, false, ACME_NO_FAULT, NULL, NULL,
     "the device left the inventory after the invitation: the order is refused (deletes it!)"},
    {"replayed-client-identifier", replayed_identifier, false, false, ACME_NO_FAULT, NEW_ORDER,
     "rejectedIdentifier", "a second order for a used ClientIdentifier: rejectedIdentifier"},
    {"replayed-nonce", acme_fault, false, false, ACME_REPLAYED_NONCE, NEW_ORDER, "badNonce",
     "a nonce used twice: badNonce"},
    {"empty-x5c", acme_fault, false, false, ACME_EMPTY_X5C, CHALLENGE,
     "no attestation, with Apple's error text: challenge invalid, the text kept"},
    {"short-signature", acme_fault, true, false, ACME_SHORT_SIGNATURE, NULL, NULL,
     "every JWS signature without its leading zeros: accepted"},
    {"reused-invitation", reused_invitation, false, false, ACME_NO_FAULT, "enrol page", NULL,
     "the enrolment URL fetched twice: the second time refused"},
    {"notnow", mdm_fault, true, true, ACME_NO_FAULT, NULL, NULL,
     "NotNow: not served again in the session, served at the next Idle"},
    {"repeated-uuid", mdm_fault, true, true, ACME_NO_FAULT, NULL, NULL,
     "the same report twice: accepted, no effect"},
    {"unknown-uuid", mdm_fault, true, true, ACME_NO_FAULT, NULL, NULL,
     "a report for a command that was never sent: accepted"},
    {"undecodable-result", mdm_fault, true, true, ACME_NO_FAULT, NULL, NULL,
     "a result with a NaN or a broken plist: accepted, the command retired"},
};

static void list(void)
{
    for (size_t i = 0; i < TD_NITEMS(kinds); i++)
        printf("%-27s %s\n", kinds[i].name, kinds[i].doc);
}

static const struct kind *find(const char *name)
{
    for (size_t i = 0; i < TD_NITEMS(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return NULL;
}

/* --- verdict --- */

static bool refused_rightly(const struct kind *k, const struct refusal *r)
{
    return r->status < 500 && (!k->step || strcmp(k->step, r->step) == 0) &&
           (!k->type || strcmp(k->type, r->type) == 0);
}

static void print(const struct attempt *t, bool ok, const char *verdict)
{
    if (t->o->json) {
        struct json_w w;
        buf_auto b;
        buf_init(&b, 65536);
        json_w_init(&w, &b);
        json_open(&w);
        json_kv_str(&w, "kind", t->kind->name);
        json_kv_bool(&w, "ok", ok);
        json_kv_str(&w, "verdict", verdict);
        json_kv_str(&w, "step", t->why.step);
        json_kv_int(&w, "status", t->why.status);
        json_kv_str(&w, "type", t->why.type);
        json_kv_str(&w, "detail", t->why.step ? t->why.detail : t->said);
        json_close(&w);
        printf("%s\n", buf_cstr(&b));
        return;
    }
    printf("%s: %s: %s", ok ? "ok" : "FAILED", t->kind->name, verdict);
    if (t->why.step)
        printf(" at %s: HTTP %d %s %s", t->why.step, t->why.status, t->why.type, t->why.detail);
    else if (t->said[0])
        printf(": %s", t->said);
    printf("\n");
}

/* TD_OK with the exit code, or the error that kept the attempt from being made. */
static enum td_err judge(struct attempt *t, enum td_err e, int *ret_code)
{
    bool refused = e == TD_FORBIDDEN && t->why.step;
    bool ok = t->kind->accept ? e == TD_OK : refused && refused_rightly(t->kind, &t->why);
    if (e != TD_OK && !refused)
        return e;
    print(t, ok,
          !refused ? "accepted"
                   : (ok || t->kind->accept ? "refused" : "refused, but not as it should be"));
    *ret_code = ok ? 0 : 1;
    return TD_OK;
}

static enum td_err check(const struct kind *k, const struct opts *o, struct errinfo *ei)
{
    if (!o->cacert || !o->serial)
        return err_set(ei, TD_INVAL, "--cacert FILE and --serial S are needed");
    if (k->mdm && !o->state)
        return err_set(ei, TD_INVAL, "%s needs --state DIR with the enrolled device", k->name);
    if (!k->mdm && (!o->pki || (!o->url && !o->api)))
        return err_set(ei, TD_INVAL, "%s needs --pki DIR, and --url URL or --api URL", k->name);
    if ((o->api && !o->token_file) || ((k->fn == unlisted_serial || o->put_inventory) && !o->api))
        return err_set(ei, TD_INVAL, "--api URL and --token-file FILE are needed");
    return TD_OK;
}

static enum td_err attempt(struct attempt *t, struct errinfo *ei)
{
    const struct opts *o = t->o;
    TD_TRY(enroll_ctx_open(o, &t->c, ei));
    api_init(&t->api, t->c.tls, o->api, t->c.token, enroll_timeout_ms(o));
    if (t->kind->mdm)
        TD_TRY(device_load(&t->device, o->state, o->serial, ei));
    else
        TD_TRY(device_init(&t->device, o->serial, o->model, ei));
    if (t->kind->mdm && t->device.removed)
        return err_set(ei, TD_STATE, "%s is no longer enrolled", o->serial);
    return t->kind->fn(t, ei);
}

enum td_err fault_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    *ret_code = 0;
    if (o->list) {
        list();
        return TD_OK;
    }
    struct attempt t = {.o = o, .kind = o->kind ? find(o->kind) : NULL};
    if (!t.kind)
        return err_set(ei, TD_INVAL, "--kind K: one of those that --list names");
    TD_TRY(check(t.kind, o, ei));
    arena_init(&t.a, ARENA_MAX);
    t.api.http.conn.fd = -1;
    enum td_err e = judge(&t, attempt(&t, ei), ret_code);
    api_free(&t.api);
    device_free(&t.device);
    enroll_ctx_close(&t.c);
    arena_free(&t.a);
    return e;
}
