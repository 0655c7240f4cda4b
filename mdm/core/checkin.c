#include "mdm/core/checkin.h"

#include "mdm/base/log.h"
#include "mdm/core/command.h"
#include "mdm/core/enrollment.h"
#include "mdm/core/pump.h"
#include "mdm/store/attempts.h"
#include "mdm/store/audit.h"

struct job {
    struct core *c;
    const struct core_ident *id;
    const struct core_msg *m;
    struct span body;
    int64_t now;
    char txn[RNG_ID_SIZE];
    /* a DeviceConfigured made ready for a device that waits in Setup Assistant (MB-17) */
    char uuid[UUID_SIZE];
    struct span configured;
    enum td_err (*fn)(struct job *j, struct tx *tx, struct core_who *who, struct errinfo *ei);
    /* results */
    char serial[CORE_SERIAL_SIZE];
    bool push;
};

static enum td_err accepted(struct job *j, struct tx *tx, const char *serial, const char *what,
                            struct errinfo *ei)
{
    struct attempt t = {.at = j->now,
                        .serial = serial,
                        .source = "checkin",
                        .outcome = "accepted",
                        .detail = what,
                        .peer = j->id->peer};
    return attempt_add(tx, &t, ei);
}

static enum td_err right_topic(const struct job *j, struct errinfo *ei)
{
    if (!j->m->topic)
        return err_reason(ei, TD_PARSE, "message-malformed", "Topic is missing");
    if (strcmp(j->m->topic, j->c->conf.topic) != 0)
        return err_reason(ei, TD_FORBIDDEN, "topic-mismatch",
                          "the device names a push topic that is not ours");
    return TD_OK;
}

/* --- Authenticate -------------------------------------------------------------------------- */

static enum td_err authenticate_cert(struct job *j, struct tx *tx, const struct core_who *who,
                                     struct errinfo *ei)
{
    const struct core_cert *cert = &who->cert;
    const struct core_ops *ops = &j->c->conf.ops;
    if (cert->revoked)
        return err_reason(ei, TD_FORBIDDEN, "cert-revoked", "the certificate is revoked");
    if (strcmp(cert->purpose, "management") != 0)
        return err_reason(ei, TD_FORBIDDEN, "cert-purpose",
                          "the certificate is not a management identity");
    /* NotAfter is not asked: an expired identity must still be able to renew (MB-30). */
    enum td_err e = ops->device_listed(ops->ctx, tx, cert->device_serial, ei);
    if (e == TD_NOTFOUND)
        return err_reason(ei, TD_FORBIDDEN, "device-not-listed",
                          "the device is not in the inventory");
    TD_TRY(e);
    if (j->m->serial && strcmp(j->m->serial, cert->device_serial) != 0)
        return err_reason(ei, TD_FORBIDDEN, "serial-mismatch",
                          "the device names another serial number than its certificate");
    if (who->pinned && strcmp(who->row.id, j->m->udid) != 0)
        return err_reason(ei, TD_FORBIDDEN, "cert-pinned-elsewhere",
                          "the certificate is pinned to another UDID (MB-25)");
    return ops->udid_allowed ? ops->udid_allowed(ops->ctx, tx, j->id->cert_sha256, j->m->udid, ei)
                             : TD_OK;
}

static enum td_err tell(const struct job *j, struct tx *tx, enum core_told what, const char *serial,
                        struct errinfo *ei)
{
    const struct core_ops *ops = &j->c->conf.ops;
    const struct core_news n = {.what = what,
                                .serial = serial,
                                .os_version = j->m->os_version,
                                .build = j->m->build,
                                .product = j->m->product,
                                .now = j->now,
                                .txn = j->txn};
    return ops->told ? ops->told(ops->ctx, tx, &n, ei) : TD_OK;
}

/* The enrolment another UDID of this serial had (a new main board) goes, or a certificate and a
 * queue would live on beside the new ones; what its commands came to stays with the serial. */
static enum td_err replace_others(struct job *j, struct tx *tx, const char *serial,
                                  struct errinfo *ei)
{
    const struct core_ops *ops = &j->c->conf.ops;
    const char *udid = j->m->udid;
    for (;;) {
        char id[CORE_ID_MAX + 1];
        uint8_t cert[SHA256_SIZE];
        struct cur cur;
        enum td_err e =
            tx_row(tx, CORE_SQL(ENR_REPLACED), SV_LIST(SV_TEXT(serial), SV_TEXT(udid)), &cur, ei);
        if (e == TD_NOTFOUND)
            return TD_OK;
        TD_TRY(e);
        struct span key = cur_span(&cur, 0), hash = cur_span(&cur, 1);
        bool fits = key.n <= CORE_ID_MAX && hash.n == sizeof cert;
        if (fits) {
            memcpy(id, key.p, key.n);
            id[key.n] = 0;
            memcpy(cert, hash.p, sizeof cert);
        }
        cur_end(&cur);
        if (!fits)
            return err_set(ei, TD_INTERNAL, "an enrolment has a damaged row");
        TD_TRY(tx_exec(tx, CORE_SQL(CMD_CANCEL), SV_LIST(SV_TEXT(id), SV_INT(j->now)), NULL, ei));
        TD_TRY(tx_exec(tx, CORE_SQL(CMD_ADOPT), SV_LIST(SV_TEXT(id), SV_TEXT(udid)), NULL, ei));
        TD_TRY(tx_exec(tx, CORE_SQL(PUSH_DROP), SV_LIST(SV_TEXT(id)), NULL, ei));
        TD_TRY(tx_exec(tx, CORE_SQL(ENR_DROP), SV_LIST(SV_TEXT(id)), NULL, ei));
        TD_TRY(ops->cert_supersede(ops->ctx, tx, cert, j->now, j->txn, ei));
    }
}

/* MB-13: nothing of the earlier enrolment of this UDID reaches the new one. */
static enum td_err end_earlier(struct job *j, struct tx *tx, const struct core_row *old,
                               const char *serial, struct errinfo *ei)
{
    const struct core_ops *ops = &j->c->conf.ops;
    TD_TRY(tx_exec(tx, CORE_SQL(CMD_CANCEL), SV_LIST(SV_TEXT(old->id), SV_INT(j->now)), NULL, ei));
    TD_TRY(tx_exec(tx, CORE_SQL(PUSH_DROP), SV_LIST(SV_TEXT(old->id)), NULL, ei));
    if (strcmp(old->serial, serial) != 0) /* another device's: not for this one's history */
        return tx_exec(tx, CORE_SQL(CMD_FORGET), SV_LIST(SV_TEXT(old->id)), NULL, ei);
    /* or the certificate that was replaced could authenticate again and take the enrolment back */
    if (memcmp(old->cert_sha256, j->id->cert_sha256, SHA256_SIZE) == 0)
        return TD_OK;
    return ops->cert_supersede(ops->ctx, tx, old->cert_sha256, j->now, j->txn, ei);
}

/* `old` is the enrolment that holds the UDID, NULL when none does. */
static enum td_err authenticate_write(struct job *j, struct tx *tx, const char *serial,
                                      const struct core_row *old, struct errinfo *ei)
{
    const struct core_msg *m = j->m;
    const bool exists = old != NULL;
    if (old)
        TD_TRY(end_earlier(j, tx, old, serial, ei));
    TD_TRY(replace_others(j, tx, serial, ei));
    TD_TRY(tx_exec(tx, exists ? CORE_SQL(ENR_RESET) : CORE_SQL(ENR_INSERT),
                   SV_LIST(SV_TEXT(m->udid), SV_TEXT(serial), SV_BLOB(SPAN_ARR(j->id->cert_sha256)),
                           SV_TEXT(m->topic), SV_TEXT(m->device_name), SV_TEXT(m->model),
                           SV_TEXT(m->product), SV_TEXT(m->os_version), SV_TEXT(m->build),
                           SV_BLOB(j->body), SV_INT(j->now)),
                   NULL, ei));
    TD_TRY(audit_add(tx, j->now, j->txn, "device", "enrollment.authenticate", serial,
                     exists ? "again" : "new", ei));
    TD_TRY(tell(j, tx, CORE_TOLD_AUTHENTICATE, serial, ei));
    return accepted(j, tx, serial, "Authenticate", ei);
}

/* Only a device authenticates, by its UDID. */
static enum td_err authenticate_id(const struct job *j, struct errinfo *ei)
{
    if (j->m->user_channel)
        return err_reason(ei, TD_UNSUPPORTED, "user-channel", "Authenticate of a user");
    if (!j->m->udid && j->m->enrollment_id)
        return err_reason(ei, TD_FORBIDDEN, "user-enrollment-unsupported",
                          "account-driven enrolments carry no serial number");
    if (!j->m->udid)
        return err_reason(ei, TD_PARSE, "message-malformed", "UDID is missing");
    return TD_OK;
}

static enum td_err authenticate_renewed(struct job *j, struct tx *tx, const struct core_who *who,
                                        struct errinfo *ei)
{
    const struct core_msg *m = j->m;
    TD_TRY(tx_exec(tx, CORE_SQL(ENR_DESCRIBE),
                   SV_LIST(SV_TEXT(who->row.id), SV_TEXT(m->device_name), SV_TEXT(m->model),
                           SV_TEXT(m->product), SV_TEXT(m->os_version), SV_TEXT(m->build),
                           SV_BLOB(j->body)),
                   NULL, ei));
    TD_TRY(tell(j, tx, CORE_TOLD_AUTHENTICATE, who->row.serial, ei));
    return accepted(j, tx, who->row.serial, "Authenticate (renewed identity)", ei);
}

static enum td_err authenticate(struct job *j, struct tx *tx, struct core_who *who,
                                struct errinfo *ei)
{
    struct core_row row;
    TD_TRY(authenticate_id(j, ei));
    /* A leaving device gets that reason rather than that of its revoked certificate. */
    if (who->pinned && who->row.state == CORE_LEAVING)
        return core_alive(who, ei);
    TD_TRY(authenticate_cert(j, tx, who, ei));
    TD_TRY(right_topic(j, ei));
    enum td_err e = core_row_by_id(tx, j->m->udid, &row, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    bool exists = e == TD_OK;
    /* Not every device attests its UDID: the first to claim it holds it, until it leaves or checks
     * out. */
    if (exists && (row.state == CORE_AUTHENTICATED || row.state == CORE_ENROLLED) &&
        strcmp(row.serial, who->cert.device_serial) != 0)
        return err_reason(ei, TD_FORBIDDEN, "udid-other-serial",
                          "another device enrolled with this UDID");
    /* MB-20, MB-27: a renewed identity announces itself; nothing that is enrolled is reset */
    bool renewing = who->renewing;
    TD_TRY(core_take_over(j->c, tx, who, j->id, j->m->udid, j->now, j->txn, ei));
    if (renewing && who->pinned)
        return authenticate_renewed(j, tx, who, ei);
    /* MB-21: the same certificate again is a retry, unless the enrolment is over. */
    if (who->pinned && who->row.state != CORE_REMOVED)
        return TD_OK;
    return authenticate_write(j, tx, who->cert.device_serial, exists ? &row : NULL, ei);
}

/* --- TokenUpdate --------------------------------------------------------------------------- */

static enum td_err queue_configured(struct job *j, struct tx *tx, const struct core_who *who,
                                    struct errinfo *ei)
{
    bool open;
    TD_TRY(core_command_open(tx, who->row.id, "DeviceConfigured", &open, ei));
    if (open)
        return TD_OK;
    return tx_exec(tx, CORE_SQL(CMD_INSERT),
                   SV_LIST(SV_TEXT(j->uuid), SV_TEXT(who->row.id), SV_TEXT("DeviceConfigured"),
                           SV_BLOB(j->configured), SV_TEXT("server"), SV_INT(j->now)),
                   NULL, ei);
}

static enum td_err token_update(struct job *j, struct tx *tx, struct core_who *who,
                                struct errinfo *ei)
{
    const struct core_msg *m = j->m;
    TD_TRY(core_take_over(j->c, tx, who, j->id, m->udid, j->now, j->txn, ei));
    TD_TRY(core_alive(who, ei));
    TD_TRY(core_same_device(who, m->udid ? m->udid : m->enrollment_id, ei));
    if (m->user_channel)
        return TD_OK; /* the profile asks for no user channel; a user's token is not the device's */
    TD_TRY(right_topic(j, ei));
    if (!m->token.n || !m->push_magic)
        return err_reason(ei, TD_PARSE, "message-malformed", "Token or PushMagic is missing");
    /* MB-15, MB-16: an absent UnlockToken or AwaitingConfiguration keeps what is stored. */
    TD_TRY(
        tx_exec(tx, CORE_SQL(ENR_TOKEN),
                SV_LIST(SV_TEXT(who->row.id), SV_TEXT(m->push_magic), SV_BLOB(m->token),
                        SV_BLOB0(m->unlock_token), m->awaiting < 0 ? SV_NULL : SV_INT(m->awaiting),
                        SV_BLOB(j->body), SV_INT(j->now)),
                NULL, ei));
    if (who->row.tally == 0) { /* MB-14: the first one is the enrolment */
        TD_TRY(audit_add(tx, j->now, j->txn, "device", "enrollment.enrolled", who->row.serial, "",
                         ei));
        TD_TRY(accepted(j, tx, who->row.serial, "TokenUpdate", ei));
        TD_TRY(tell(j, tx, CORE_TOLD_ENROLLED, who->row.serial, ei));
    }
    if (m->awaiting > 0)
        TD_TRY(queue_configured(j, tx, who, ei));
    j->push = true; /* MB-22: never a command in this reply, a push after it */
    return tx_exec(tx, CORE_SQL(PUSH_WANT), SV_LIST(SV_TEXT(who->row.id), SV_INT(j->now)), NULL,
                   ei);
}

/* --- CheckOut ------------------------------------------------------------------------------ */

static enum td_err check_out(struct job *j, struct tx *tx, struct core_who *who, struct errinfo *ei)
{
    TD_TRY(core_take_over(j->c, tx, who, j->id, j->m->udid, j->now, j->txn, ei));
    if (!who->pinned)
        return core_alive(who, ei);
    TD_TRY(core_same_device(who, j->m->udid ? j->m->udid : j->m->enrollment_id, ei));
    if (j->m->user_channel || who->row.state == CORE_REMOVED)
        return TD_OK; /* MB-19: a user going is not the device going */
    /* A stolen, revoked certificate must not end an enrolment that goes on. */
    if (who->row.state != CORE_LEAVING)
        TD_TRY(core_alive(who, ei));
    TD_TRY(core_row_removed(tx, &who->row, j->now, j->txn, "CheckOut", ei));
    return tell(j, tx, CORE_TOLD_REMOVED, who->row.serial, ei);
}

/* --- the others ---------------------------------------------------------------------------- */

/* MB-6: 410, do not manage this user for this login. */
static enum td_err user_authenticate(struct job *j, struct tx *tx, struct core_who *who,
                                     struct errinfo *ei)
{
    (void)j, (void)tx;
    TD_TRY(core_alive(who, ei));
    enum td_err e = err_reason(ei, TD_GONE, "user-not-managed", "users are not managed");
    if (ei)
        ei->http = 410;
    return e;
}

/* Escrow is not kept yet, and the profile does not offer it (MB-73). To accept a token and lose it
 * would be worse than to refuse it: the device keeps it and asks again. Deleting is always done. */
static enum td_err set_bootstrap(struct job *j, struct tx *tx, struct core_who *who,
                                 struct errinfo *ei)
{
    (void)tx;
    TD_TRY(core_alive(who, ei));
    if (!j->m->bootstrap_token.n)
        return TD_OK;
    return err_reason(ei, TD_UNSUPPORTED, "bootstrap-token", "bootstrap tokens are not kept");
}

/* Known or not, this needs the certificate alone: an empty answer tells nothing. */
static enum td_err get_bootstrap(struct job *j, struct tx *tx, struct core_who *who,
                                 struct errinfo *ei)
{
    (void)j, (void)tx, (void)who, (void)ei;
    return TD_OK;
}

static enum td_err empty_dict(struct arena *a, struct buf *reply)
{
    struct plist *d = plist_new_dict(a);
    return d ? plist_xml(d, reply) : TD_NOMEM;
}

static const struct {
    const char *type;
    enum td_err (*fn)(struct job *j, struct tx *tx, struct core_who *who, struct errinfo *ei);
    enum td_err (*reply)(struct arena *a, struct buf *reply); /* NULL: zero bytes */
    bool writes;
} messages[] = {
    {"Authenticate", authenticate, NULL, true},
    {"CheckOut", check_out, NULL, true},
    {"GetBootstrapToken", get_bootstrap, empty_dict, false},
    {"SetBootstrapToken", set_bootstrap, NULL, false},
    {"TokenUpdate", token_update, NULL, true},
    {"UserAuthenticate", user_authenticate, NULL, false},
};

static enum td_err run(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    struct core_who who;
    j->push = false;
    j->serial[0] = 0;
    TD_TRY(core_identify(j->c, tx, j->id, &who, ei));
    memcpy(j->serial, who.cert.device_serial, sizeof j->serial);
    return j->fn(j, tx, &who, ei);
}

/* Made before the transaction: the writer thread renders nothing. */
static enum td_err prepare_configured(struct job *j, struct arena *a, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, 4096);
    struct plist *cmd = plist_new_dict(a);
    if (!cmd)
        return err_set(ei, TD_NOMEM, "no memory for a command");
    uuid_new(j->c->conf.rng, j->uuid);
    TD_TRY(plist_set_str(cmd, "RequestType", "DeviceConfigured"));
    TD_TRY(command_xml(cmd, j->uuid, a, &b, ei));
    j->configured = arena_span(a, buf_view(&b));
    return j->configured.p ? TD_OK : err_set(ei, TD_NOMEM, "no memory for a command");
}

enum td_err core_checkin_run(struct core *c, const struct core_ident *id, const struct core_msg *m,
                             struct span body, struct arena *a, struct buf *reply,
                             struct errinfo *ei)
{
    struct job j = {.c = c, .id = id, .m = m, .body = body};
    size_t i = 0;
    while (i < TD_NITEMS(messages) && strcmp(messages[i].type, m->type) != 0)
        i++;
    if (i == TD_NITEMS(messages)) /* MB-11: what Apple adds fails softly */
        return err_reason(ei, TD_UNSUPPORTED, "message-unsupported", "MessageType %s is not known",
                          m->type);
    j.fn = messages[i].fn;
    j.now = clock_now(c->conf.clock);
    rng_id(c->conf.rng, j.txn);
    if (m->awaiting > 0)
        TD_TRY(prepare_configured(&j, a, ei));
    TD_TRY(messages[i].writes ? store_write(c->conf.store, run, &j, ei)
                              : store_read(c->conf.store, run, &j, ei));
    log_ev(LOG_INFO, "mdm.checkin", KV("type", messages[i].type), KV("serial", j.serial),
           KV("how", id->how));
    if (j.push)
        core_pump_kick(c);
    return messages[i].reply ? messages[i].reply(a, reply) : TD_OK;
}
