#include "mdm/core/connect.h"

#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/core/command.h"
#include "mdm/core/enrollment.h"
#include "mdm/core/seen.h"
#include "mdm/store/outbox.h"

/* After NotNow a device may not come back by itself (MB-46). */
#define NOTNOW_PUSH_AFTER 900
#define TYPE_MAX 64 /* of a command, as much as is told */

enum report_kind { REPORT_IDLE, REPORT_DONE, REPORT_NOTNOW };

/* A status that is not here closes the command as an error, verbatim (MB-50). */
static const struct status {
    const char *name;
    enum report_kind kind;
    const char *state; /* of the command, for REPORT_DONE */
} statuses[] = {
    {"Acknowledged", REPORT_DONE, "acknowledged"},
    {"CommandFormatError", REPORT_DONE, "error"},
    {"Error", REPORT_DONE, "error"},
    {"Idle", REPORT_IDLE, NULL},
    {"NotNow", REPORT_NOTNOW, NULL},
};
static const struct status unknown_status = {"", REPORT_DONE, "error"};
static const struct status undecodable = {"undecodable", REPORT_DONE, "error"};

static const struct status *status_of(const struct core_report *r)
{
    const struct status *s = &unknown_status;
    for (size_t i = 0; i < TD_NITEMS(statuses); i++)
        if (strcmp(statuses[i].name, r->status) == 0)
            s = &statuses[i];
    return !r->decoded && s->kind != REPORT_IDLE ? &undecodable : s;
}

enum outcome {
    OUT_EMPTY,   /* nothing for this device now */
    OUT_COMMAND, /* the reply is in the buffer */
    OUT_REMOVAL, /* the removal command of `row` */
    OUT_WRITE    /* the read found work to do */
};

struct job {
    struct core *c;
    const struct core_ident *id;
    const struct core_report *r;
    const struct status *st;
    struct span body;
    struct buf *reply;
    int64_t now;
    char txn[RNG_ID_SIZE];
    /* results */
    enum outcome out;
    struct core_row row;
    bool done, unknown_uuid, push_later;
};

static enum td_err unrecognized(struct errinfo *ei, const char *why)
{
    return err_reason(ei, TD_FORBIDDEN, CORE_REASON_UNRECOGNIZED, "%s", why);
}

/* Who it is, and whether it may speak here. */
static enum td_err admit(struct job *j, struct tx *tx, bool writing, struct errinfo *ei)
{
    struct core_who who;
    j->out = OUT_EMPTY;
    buf_reset(j->reply); /* of a run that was undone */
    j->done = j->unknown_uuid = j->push_later = false;
    j->row = (struct core_row){0};
    TD_TRY(core_identify(j->c, tx, j->id, &who, ei));
    if (who.renewing && !writing) {
        j->out = OUT_WRITE;
        return TD_OK;
    }
    TD_TRY(core_take_over(j->c, tx, &who, j->id, j->r->udid, j->now, j->txn, ei));
    if (!who.pinned)
        return core_alive(&who, ei);
    TD_TRY(core_same_device(&who, j->r->udid, ei));
    if (who.row.state == CORE_REMOVED)
        return unrecognized(ei, "the enrolment is over");
    if (who.row.state != CORE_LEAVING)
        TD_TRY(core_alive(&who, ei));
    j->row = who.row;
    return TD_OK;
}

/* --- a device that leaves gets its removal and nothing else --------------------------------- */

static enum td_err leaving(struct job *j, struct tx *tx, struct errinfo *ei)
{
    char uuid[UUID_SIZE];
    core_removal_uuid(&j->row, uuid);
    bool ours = j->r->uuid && strcmp(j->r->uuid, uuid) == 0;
    if (!ours || j->st->kind == REPORT_IDLE) {
        j->out = OUT_REMOVAL;
        return TD_OK;
    }
    j->out = OUT_EMPTY;
    if (j->st->kind == REPORT_NOTNOW) {
        return tx_exec(
            tx, CORE_SQL(PUSH_LATER),
            SV_LIST(SV_TEXT(j->row.id), SV_INT(j->now + NOTNOW_PUSH_AFTER), SV_INT(j->now)), NULL,
            ei);
    }
    if (strcmp(j->st->state, "acknowledged") == 0 || j->st == &undecodable)
        return core_row_removed(tx, &j->row, j->now, j->txn, "RemoveProfile", ei);
    /* It cannot remove the profile: the other deliberate way (MB-4). */
    return unrecognized(ei, "the removal of the enrolment profile failed");
}

/* --- the queue ----------------------------------------------------------------------------- */

/* MB-48: a report whose bytes name no command belongs to the one given out last. */
static enum td_err reported_uuid(struct job *j, struct tx *tx, char out[static CORE_ID_MAX + 1],
                                 struct errinfo *ei)
{
    size_t n = j->r->uuid ? strlen(j->r->uuid) : 0;
    if (n) {
        n = n <= CORE_ID_MAX ? n : 0; /* no command of ours has so long a name */
        memcpy(out, j->r->uuid, n);
        out[n] = 0;
        return TD_OK;
    }
    struct cur cur;
    out[0] = 0;
    enum td_err e = tx_row(tx, CORE_SQL(CMD_LAST_SENT), SV_LIST(SV_TEXT(j->row.id)), &cur, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    struct span uuid = cur_span(&cur, 0);
    n = uuid.n <= CORE_ID_MAX ? uuid.n : 0;
    memcpy(out, uuid.p, n);
    out[n] = 0;
    cur_end(&cur);
    return TD_OK;
}

static enum td_err tell(const struct job *j, struct tx *tx, const char *uuid, const char *type,
                        struct errinfo *ei)
{
    const struct core_ops *ops = &j->c->conf.ops;
    const struct core_news n = {.what = CORE_TOLD_REPORT,
                                .serial = j->row.serial,
                                .request_type = type,
                                .command = uuid,
                                .report = j->r->body,
                                .now = j->now,
                                .txn = j->txn};
    return ops->told ? ops->told(ops->ctx, tx, &n, ei) : TD_OK;
}

static enum td_err close_command(struct job *j, struct tx *tx, const char *uuid, const char *type,
                                 struct errinfo *ei)
{
    const char *status = j->st == &undecodable ? undecodable.name : j->r->status;
    TD_TRY(tx_exec(tx, CORE_SQL(CMD_DONE),
                   SV_LIST(SV_TEXT(uuid), SV_TEXT(j->st->state), SV_TEXT(status), SV_BLOB(j->body),
                           SV_INT(j->now)),
                   NULL, ei));
    const struct outbox_event ev = {
        .type = OUTBOX_COMMAND_FINISHED,
        .at = j->now,
        .txn = j->txn,
        .actor = "device",
        .device = j->row.serial,
        .data = {{"command", uuid}, {"request", type}, {"state", j->st->state}}};
    TD_TRY(outbox_add(tx, &ev, ei));
    j->done = true;
    if (strcmp(j->st->state, "acknowledged") != 0)
        return TD_OK;
    if (strcmp(type, "DeviceConfigured") == 0) /* MB-16 */
        return tx_exec(tx, CORE_SQL(ENR_CONFIGURED), SV_LIST(SV_TEXT(j->row.id)), NULL, ei);
    return tell(j, tx, uuid, type, ei);
}

static enum td_err apply_report(struct job *j, struct tx *tx, struct errinfo *ei)
{
    char uuid[CORE_ID_MAX + 1];
    TD_TRY(reported_uuid(j, tx, uuid, ei));
    struct cur cur;
    enum td_err e =
        tx_row(tx, CORE_SQL(CMD_FIND), SV_LIST(SV_TEXT(uuid), SV_TEXT(j->row.id)), &cur, ei);
    if (e == TD_NOTFOUND) { /* MB-49: accepted, and the session goes on */
        j->unknown_uuid = true;
        return TD_OK;
    }
    TD_TRY(e);
    struct span state = cur_span(&cur, 0);
    bool open =
        span_eq_str(state, "queued") || span_eq_str(state, "sent") || span_eq_str(state, "notnow");
    bool notnow = span_eq_str(state, "notnow");
    struct span request = span_sub(cur_span(&cur, 1), 0, TYPE_MAX);
    char type[TYPE_MAX + 1] = "";
    if (request.n)
        memcpy(type, request.p, request.n);
    cur_end(&cur);
    if (!open) /* MB-47: reported twice, or cancelled meanwhile */
        return TD_OK;
    if (j->st->kind == REPORT_DONE)
        return close_command(j, tx, uuid, type, ei);
    if (!notnow)
        TD_TRY(tx_exec(tx, CORE_SQL(CMD_NOTNOW), SV_LIST(SV_TEXT(uuid)), NULL, ei));
    j->push_later = true;
    return tx_exec(tx, CORE_SQL(PUSH_LATER),
                   SV_LIST(SV_TEXT(j->row.id), SV_INT(j->now + NOTNOW_PUSH_AFTER), SV_INT(j->now)),
                   NULL, ei);
}

/* The next command into the reply. First what was given out and never reported (the connection
 * broke), then what the device has not seen, last what it put off: so a session ends with NotNow
 * and the device comes again by itself (Apple, Handling NotNow status responses). */
static enum td_err next_command(struct job *j, struct tx *tx, struct errinfo *ei)
{
    static const enum core_sql_id picks[] = {CORE_SQL_CMD_NEXT_SENT, CORE_SQL_CMD_NEXT_FRESH,
                                             CORE_SQL_CMD_NEXT_AGAIN};
    buf_reset(j->reply);
    for (size_t i = 0; i < TD_NITEMS(picks); i++) {
        struct cur cur;
        enum td_err e = tx_row(tx, &core_sql[picks[i]], SV_LIST(SV_TEXT(j->row.id)), &cur, ei);
        if (e == TD_NOTFOUND)
            continue;
        TD_TRY(e);
        char uuid[CORE_ID_MAX + 1] = "";
        struct span name = cur_span(&cur, 0);
        if (name.n <= CORE_ID_MAX)
            memcpy(uuid, name.p, name.n);
        e = buf_span(j->reply, cur_span(&cur, 1));
        cur_end(&cur);
        if (e != TD_OK || !uuid[0])
            return err_set(ei, TD_INTERNAL, "a command is too large for a reply");
        j->out = OUT_COMMAND;
        return tx_exec(tx, CORE_SQL(CMD_SENT), SV_LIST(SV_TEXT(uuid), SV_INT(j->now)), NULL, ei);
    }
    j->out = OUT_EMPTY;
    return TD_OK;
}

/* --- jobs ---------------------------------------------------------------------------------- */

static enum td_err step_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    TD_TRY(admit(j, tx, true, ei));
    if (j->r->user_channel) /* no user channel, no commands on it */
        return TD_OK;
    if (j->row.state == CORE_LEAVING)
        return leaving(j, tx, ei);
    if (j->st->kind == REPORT_IDLE)
        /* MB-45: put-off commands wait for the next session; this is its beginning */
        TD_TRY(tx_exec(tx, CORE_SQL(CMD_REQUEUE), SV_LIST(SV_TEXT(j->row.id)), NULL, ei));
    else
        TD_TRY(apply_report(j, tx, ei));
    return next_command(j, tx, ei);
}

/* Idle with nothing queued is the commonest request: it costs a read and no commit. */
static enum td_err idle_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    struct cur cur;
    TD_TRY(admit(j, tx, false, ei));
    if (j->r->user_channel || j->out == OUT_WRITE)
        return TD_OK;
    if (j->row.state == CORE_LEAVING) {
        j->out = OUT_REMOVAL;
        return TD_OK;
    }
    enum td_err e = tx_row(tx, CORE_SQL(CMD_OPEN), SV_LIST(SV_TEXT(j->row.id)), &cur, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    cur_end(&cur);
    j->out = OUT_WRITE;
    return TD_OK;
}

static enum td_err removal(struct job *j, struct arena *a, struct errinfo *ei)
{
    char uuid[UUID_SIZE];
    core_removal_uuid(&j->row, uuid);
    struct plist *cmd = plist_new_dict(a);
    if (!cmd)
        return err_set(ei, TD_NOMEM, "no memory for the removal");
    TD_TRY(plist_set_str(cmd, "RequestType", "RemoveProfile"));
    TD_TRY(plist_set_str(cmd, "Identifier", j->c->conf.enrollment_profile));
    buf_reset(j->reply);
    return command_xml(cmd, uuid, a, j->reply, ei);
}

static void log_report(const struct job *j)
{
    const char *uuid = j->r->uuid ? j->r->uuid : "";
    if (j->done)
        metrics_add(METRIC_COMMANDS_DONE, 1);
    if (j->st == &undecodable || j->st == &unknown_status || j->unknown_uuid)
        log_ev(LOG_WARN, j->unknown_uuid ? "mdm.report_unknown" : "mdm.report_strange",
               KV("serial", j->row.serial), KV("command", uuid), KV("status", j->r->status),
               KV_I64("bytes", j->body.n));
    else if (j->st->kind != REPORT_IDLE)
        log_ev(LOG_INFO, "mdm.report", KV("serial", j->row.serial), KV("command", uuid),
               KV("status", j->r->status));
}

enum td_err core_connect_run(struct core *c, const struct core_ident *id,
                             const struct core_report *r, struct span body, struct arena *a,
                             struct buf *reply, struct errinfo *ei)
{
    struct job j = {.c = c, .id = id, .r = r, .st = status_of(r), .body = body, .reply = reply};
    j.now = clock_now(c->conf.clock);
    rng_id(c->conf.rng, j.txn);
    j.out = OUT_WRITE;
    if (j.st->kind == REPORT_IDLE || r->user_channel)
        TD_TRY((id->no_wait ? store_try_read : store_read)(c->conf.store, idle_job, &j, ei));
    if (j.out == OUT_WRITE && id->no_wait)
        return TD_AGAIN;
    if (j.out == OUT_WRITE)
        TD_TRY(store_write(c->conf.store, step_job, &j, ei));
    log_report(&j);
    core_seen_note(c->seen, j.row.id, j.now);
    return j.out == OUT_REMOVAL ? removal(&j, a, ei) : TD_OK;
}
