#include "mdm/core/core.h"

#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/metrics.h"
#include "mdm/core/command.h"
#include "mdm/core/enrollment.h"
#include "mdm/core/pump.h"
#include "mdm/store/audit.h"

/* The command as XML: base64 and markup around the largest raw body. */
#define COMMAND_XML_MAX ((size_t)LIMIT_BODY_PROFILE * 2)

enum td_err core_enqueue_in(struct tx *tx, const char *serial, const struct core_prepared *p,
                            struct errinfo *ei)
{
    struct core_row row;
    enum td_err e = core_row_newest(tx, serial, &row, ei);
    if (e == TD_NOTFOUND)
        return err_reason(ei, TD_NOTFOUND, "not-enrolled", "the device has no enrolment");
    TD_TRY(e);
    if (row.state != CORE_ENROLLED)
        return err_reason(ei, TD_STATE,
                          row.state == CORE_AUTHENTICATED ? "not-enrolled" : "leaving",
                          "the device is not enrolled");
    e = tx_exec(tx, CORE_SQL(CMD_INSERT),
                SV_LIST(SV_TEXT(p->uuid), SV_TEXT(row.id), SV_TEXT(p->type), SV_BLOB(p->body),
                        SV_TEXT(p->actor), SV_INT(p->now)),
                NULL, ei);
    if (e == TD_EXISTS) /* MB-57 */
        return err_reason(ei, TD_EXISTS, "command-uuid-used", "that CommandUUID was used before");
    TD_TRY(e);
    TD_TRY(tx_exec(tx, CORE_SQL(PUSH_WANT), SV_LIST(SV_TEXT(row.id), SV_INT(p->now)), NULL, ei));
    if (p->routine)
        return TD_OK;
    char detail[160];
    snprintf(detail, sizeof detail, "%s %s", p->type, p->uuid);
    return audit_add(tx, p->now, p->txn, p->actor, "command.queue", row.serial, detail, ei);
}

enum td_err core_command_open(struct tx *tx, const char *enrollment, const char *type, bool *ret,
                              struct errinfo *ei)
{
    struct cur cur;
    enum td_err e =
        tx_row(tx, CORE_SQL(CMD_OPEN_TYPE), SV_LIST(SV_TEXT(enrollment), SV_TEXT(type)), &cur, ei);
    *ret = e == TD_OK;
    if (*ret)
        cur_end(&cur);
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err core_command_cancel(struct tx *tx, const char *uuid, int64_t now, struct errinfo *ei)
{
    return tx_exec(tx, CORE_SQL(CMD_TAKE_BACK), SV_LIST(SV_TEXT(uuid), SV_INT(now)), NULL, ei);
}

enum td_err core_prepare(struct core *c, const struct plist *command, const char *uuid,
                         const char *actor, struct arena *a, struct core_prepared *ret,
                         struct errinfo *ei)
{
    buf_auto xml;
    buf_init(&xml, COMMAND_XML_MAX);
    struct core_prepared p = {.actor = actor ? actor : ""};
    if (uuid && !uuid_valid(span_str(uuid)))
        return err_set(ei, TD_INVAL, "CommandUUID: not a UUID");
    if (uuid)
        memcpy(p.uuid, uuid, UUID_SIZE);
    else
        uuid_new(c->conf.rng, p.uuid);
    enum td_err e = plist_str(command, "RequestType", a, &p.type);
    if (e != TD_OK || !*p.type)
        return err_set(ei, e == TD_NOMEM ? e : TD_INVAL, "RequestType: a string is needed");
    TD_TRY(command_xml(command, p.uuid, a, &xml, ei));
    p.body = arena_span(a, buf_view(&xml));
    if (!p.body.p)
        return err_set(ei, TD_NOMEM, "no memory for a command");
    p.now = clock_now(c->conf.clock);
    rng_id(c->conf.rng, p.txn);
    *ret = p;
    return TD_OK;
}

struct enqueue {
    const char *serial;
    struct core_prepared p;
};

static enum td_err enqueue_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct enqueue *q = ctx;
    return core_enqueue_in(tx, q->serial, &q->p, ei);
}

enum td_err core_enqueue(struct core *c, const char *serial, const struct plist *command,
                         const char *uuid, const char *actor, char *ret_uuid, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, (size_t)LIMIT_REQ_ARENA + COMMAND_XML_MAX);
    struct enqueue q = {.serial = serial};
    TD_TRY(core_prepare(c, command, uuid, actor, &a, &q.p, ei));
    TD_TRY(store_write(c->conf.store, enqueue_job, &q, ei));
    metrics_add(METRIC_COMMANDS_QUEUED, 1);
    core_pump_kick(c); /* MB-60: after the commit */
    memcpy(ret_uuid, q.p.uuid, UUID_SIZE);
    return TD_OK;
}

static int64_t int_or_zero(const struct cur *cur, int col)
{
    return cur_is_null(cur, col) ? 0 : cur_int(cur, col);
}

static enum td_err command_read(const struct cur *cur, struct arena *a, struct core_command *ret,
                                struct errinfo *ei)
{
    struct core_command v = {0};
    const char **text[] = {&v.uuid, &v.request_type, &v.state, &v.status, &v.created_by};
    for (size_t i = 0; i < TD_NITEMS(text); i++) {
        if (cur_is_null(cur, (int)i)) /* status alone may be */
            continue;
        *text[i] = cur_dup(cur, (int)i, a);
        if (!*text[i])
            return err_set(ei, TD_NOMEM, "no memory for a command");
    }
    v.seq = cur_int(cur, 5);
    v.created_at = cur_int(cur, 6);
    v.sent_at = int_or_zero(cur, 7);
    v.done_at = int_or_zero(cur, 8);
    v.notnow_count = cur_int(cur, 9);
    *ret = v;
    return TD_OK;
}

static enum td_err blob(const struct cur *cur, int col, struct arena *a, struct span *ret,
                        struct errinfo *ei)
{
    *ret = cur_span_dup(cur, col, a);
    if (!ret->p && cur_span(cur, col).n)
        return err_set(ei, TD_NOMEM, "no memory for a command");
    return TD_OK;
}

enum td_err core_command_get(struct tx *tx, const char *serial, const char *uuid, struct arena *a,
                             struct core_command *ret, struct errinfo *ei)
{
    struct cur cur;
    struct core_command v = {0};
    TD_TRY(tx_row(tx, CORE_SQL(CMD_GET), SV_LIST(SV_TEXT(serial), SV_TEXT(uuid)), &cur, ei));
    enum td_err e = command_read(&cur, a, &v, ei);
    if (e == TD_OK)
        e = blob(&cur, 10, a, &v.body, ei);
    if (e == TD_OK)
        e = blob(&cur, 11, a, &v.result, ei);
    cur_end(&cur);
    if (e == TD_OK)
        *ret = v;
    return e;
}

enum td_err core_command_list(struct tx *tx, const char *serial, int64_t before, size_t max,
                              struct arena *a, struct core_command **ret, size_t *ret_n,
                              struct errinfo *ei)
{
    struct core_command *rows = arena_alloc(a, (max ? max : 1) * sizeof *rows);
    if (!rows)
        return err_set(ei, TD_NOMEM, "no memory for a list of commands");
    struct cur cur;
    size_t n = 0;
    TD_TRY(tx_query(tx, CORE_SQL(CMD_LIST), SV_LIST(SV_TEXT(serial), SV_INT(before), SV_INT(max)),
                    &cur, ei));
    enum td_err e;
    while ((e = cur_next(&cur, ei)) == TD_OK && n < max) {
        e = command_read(&cur, a, &rows[n], ei);
        if (e != TD_OK)
            break;
        n++;
    }
    if (e != TD_NOTFOUND)
        cur_end(&cur);
    if (e != TD_NOTFOUND && e != TD_OK)
        return e;
    *ret = rows;
    *ret_n = n;
    return TD_OK;
}
