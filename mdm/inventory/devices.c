#include "mdm/inventory/devices.h"

#include "mdm/base/limits.h"
#include "mdm/base/str.h"
#include "mdm/base/utf8.h"
#include "mdm/inventory/import.h"
#include "mdm/store/audit.h"

#define SOURCE_MAX 32
#define COLUMNS "serial, name, model, owner, source, rev, created_at, updated_at, dev_groups"

enum {
    INV_GET,
    INV_LIST,
    INV_INSERT,
    INV_UPDATE,
    INV_DELETE,
    INV_IMPORT,
    INV_GROUPS_DROP,
    INV_GROUP_ADD,
    INV_STMTS
};

static const struct store_stmt stmts[INV_STMTS] = {
    [INV_GET] = {"inv.get", "SELECT " COLUMNS " FROM inv_devices WHERE serial = ?1", "t",
                 "tttttiiit"},
    [INV_LIST] = {"inv.list",
                  "SELECT " COLUMNS " FROM inv_devices WHERE serial > ?1 ORDER BY serial LIMIT ?2",
                  "ti", "tttttiiit"},
    [INV_INSERT] = {"inv.insert",
                    "INSERT INTO inv_devices (serial, name, model, owner, source, rev, created_at,"
                    " updated_at, dev_groups) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?7, ?7, ?6)"
                    " ON CONFLICT DO NOTHING",
                    "tttttti", ""},
    [INV_UPDATE] =
        {"inv.update",
         "UPDATE inv_devices SET name = ?2, model = ?3, owner = ?4, source = ?5,"
         " dev_groups = ?6, updated_at = ?7, rev = rev + 1 WHERE serial = ?1 AND rev = ?8",
         "ttttttii", ""},
    [INV_DELETE] = {"inv.delete", "DELETE FROM inv_devices WHERE serial = ?1 AND rev = ?2", "ti",
                    ""},
    /* gives the new rev, 1 when the row is new, and no row when nothing differs; a column that is
     * not in the file keeps what is stored */
    [INV_IMPORT] = {"inv.import",
                    "INSERT INTO inv_devices AS d (serial, name, model, owner, source, rev,"
                    " created_at, updated_at, dev_groups) VALUES (?1, COALESCE(?2, ''),"
                    " COALESCE(?3, ''), COALESCE(?4, ''), ?5, 1, ?6, ?6, COALESCE(?7, ''))"
                    " ON CONFLICT (serial) DO UPDATE SET name = COALESCE(?2, d.name),"
                    " model = COALESCE(?3, d.model), owner = COALESCE(?4, d.owner), source = ?5,"
                    " updated_at = ?6, rev = d.rev + 1, dev_groups = COALESCE(?7, d.dev_groups)"
                    " WHERE d.name <> COALESCE(?2, d.name) OR d.model <> COALESCE(?3, d.model)"
                    " OR d.owner <> COALESCE(?4, d.owner) OR d.source <> ?5"
                    " OR d.dev_groups <> COALESCE(?7, d.dev_groups)"
                    " RETURNING rev",
                    "tTTTtiT", "i"},
    [INV_GROUPS_DROP] = {"inv.groups_drop", "DELETE FROM inv_device_groups WHERE serial = ?1", "t",
                         ""},
    [INV_GROUP_ADD] = {"inv.group_add",
                       "INSERT INTO inv_device_groups (serial, grp) VALUES (?1, ?2)"
                       " ON CONFLICT DO NOTHING",
                       "tt", ""},
};

const struct store_stmts inventory_stmts = {stmts, INV_STMTS};

/* --- values ---------------------------------------------------------------------------------- */

bool inv_serial_valid(struct span s)
{
    return str_device_serial(s);
}

bool inv_text_valid(struct span s)
{
    if (s.n > INV_TEXT_MAX)
        return false;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t len = utf8_next(s, i, &cp);
        if (len == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) /* C0, DEL, C1 */
            return false;
        i += len;
    }
    return true;
}

static enum td_err device_judge(const struct inv_device *d, struct errinfo *ei)
{
    if (!inv_serial_valid(span_str(d->serial)))
        return err_reason(ei, TD_INVAL, "invalid-serial", "not a serial number");
    const char *const texts[] = {d->name, d->model, d->owner, d->source};
    for (size_t i = 0; i < TD_NITEMS(texts); i++)
        if (!inv_text_valid(span_str(texts[i])))
            return err_reason(ei, TD_INVAL, "invalid-text",
                              "a field is over %d bytes or has control characters", INV_TEXT_MAX);
    return TD_OK;
}

static enum td_err row_fill(const struct cur *c, struct arena *a, struct inv_device *d)
{
    *d = (struct inv_device){
        .rev = cur_int(c, 5), .created_at = cur_int(c, 6), .updated_at = cur_int(c, 7)};
    const char **texts[] = {&d->serial, &d->name, &d->model, &d->owner, &d->source, &d->groups};
    for (size_t i = 0; i < TD_NITEMS(texts); i++) {
        *texts[i] = cur_dup(c, i < 5 ? (int)i : 8, a);
        if (!*texts[i])
            return TD_NOMEM;
    }
    return TD_OK;
}

/* The rows of inv_device_groups follow the text. */
static enum td_err write_groups(struct tx *tx, const char *serial, struct span groups,
                                struct errinfo *ei)
{
    struct span w;
    TD_TRY(tx_exec(tx, &stmts[INV_GROUPS_DROP], SV_LIST(SV_TEXT(serial)), NULL, ei));
    while ((w = inv_groups_next(&groups)).n > 0)
        TD_TRY(tx_exec(tx, &stmts[INV_GROUP_ADD], SV_LIST(SV_TEXT(serial), SV_SPAN(w)), NULL, ei));
    return TD_OK;
}

/* --- reading --------------------------------------------------------------------------------- */

enum td_err inv_get(struct tx *tx, const char *serial, struct arena *a, struct inv_device *ret,
                    struct errinfo *ei)
{
    if (!inv_serial_valid(span_str(serial)))
        return err_set(ei, TD_NOTFOUND, "not in the inventory");
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[INV_GET], SV_LIST(SV_TEXT(serial)), &c, ei);
    if (e == TD_NOTFOUND)
        return err_set(ei, TD_NOTFOUND, "not in the inventory");
    TD_TRY(e);
    e = row_fill(&c, a, ret);
    cur_end(&c);
    return e;
}

enum td_err inv_list(struct tx *tx, const char *after, size_t max, struct arena *a,
                     struct inv_device **ret, size_t *ret_n, struct errinfo *ei)
{
    if (max > LIMIT_PAGE_MAX)
        max = LIMIT_PAGE_MAX;
    struct inv_device *list = arena_alloc(a, (max ? max : 1) * sizeof *list);
    if (!list)
        return TD_NOMEM;
    struct cur c;
    TD_TRY(tx_query(tx, &stmts[INV_LIST], SV_LIST(SV_TEXT(after), SV_INT(max)), &c, ei));
    size_t n = 0;
    enum td_err e;
    while ((e = cur_next(&c, ei)) == TD_OK) {
        e = row_fill(&c, a, &list[n++]);
        if (e != TD_OK)
            break;
    }
    cur_end(&c);
    if (e != TD_NOTFOUND)
        return e;
    *ret = list;
    *ret_n = n;
    return TD_OK;
}

/* --- one device ------------------------------------------------------------------------------ */

struct change {
    struct inventory *inv;
    const struct inv_device *d;
    const char *serial, *actor;
    char txn[RNG_ID_SIZE];
    char groups[INV_GROUPS_TEXT + 1]; /* that it will have */
    int64_t if_match, now, rev;
    bool created;
};

static void change_init(struct change *ch, struct inventory *inv, const char *serial,
                        int64_t if_match, const char *actor)
{
    *ch = (struct change){.inv = inv, .serial = serial, .actor = actor, .if_match = if_match};
    ch->now = clock_now(inv->clock);
    rng_id(inv->rng, ch->txn);
}

static enum td_err changed_meanwhile(struct errinfo *ei)
{
    enum td_err e = err_reason(ei, TD_CONFLICT, "rev-mismatch",
                               "the device was changed or is not what the caller saw");
    if (ei)
        ei->http = 412;
    return e;
}

/* What the table says now: its rev (0 when there is no row), and whether it equals *d. */
static enum td_err current(struct tx *tx, struct change *ch, int64_t *ret_rev, bool *ret_same,
                           struct errinfo *ei)
{
    *ret_rev = 0;
    *ret_same = false;
    snprintf(ch->groups, sizeof ch->groups, "%s", ch->d && ch->d->groups ? ch->d->groups : "");
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[INV_GET], SV_LIST(SV_TEXT(ch->serial)), &c, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    const struct inv_device *d = ch->d;
    *ret_rev = cur_int(&c, 5);
    *ret_same = d && span_eq(cur_span(&c, 1), span_str(d->name)) &&
                span_eq(cur_span(&c, 2), span_str(d->model)) &&
                span_eq(cur_span(&c, 3), span_str(d->owner)) &&
                span_eq(cur_span(&c, 4), span_str(d->source));
    struct span had = cur_span(&c, 8);
    if (d && !d->groups)
        snprintf(ch->groups, sizeof ch->groups, "%.*s", (int)had.n, (const char *)had.p);
    *ret_same = *ret_same && span_eq(had, span_str(ch->groups));
    cur_end(&c);
    return TD_OK;
}

static enum td_err write_row(struct tx *tx, const struct change *ch, int64_t rev,
                             struct errinfo *ei)
{
    const struct inv_device *d = ch->d;
    const struct sval args[] = {SV_TEXT(d->serial), SV_TEXT(d->name),   SV_TEXT(d->model),
                                SV_TEXT(d->owner),  SV_TEXT(d->source), SV_TEXT(ch->groups),
                                SV_INT(ch->now),    SV_INT(rev)};
    int64_t changes = 0;
    if (rev == 0)
        TD_TRY(tx_exec(tx, &stmts[INV_INSERT], args, TD_NITEMS(args) - 1, &changes, ei));
    else
        TD_TRY(tx_exec(tx, &stmts[INV_UPDATE], args, TD_NITEMS(args), &changes, ei));
    if (changes != 1)
        return changed_meanwhile(ei);
    return write_groups(tx, d->serial, span_str(ch->groups), ei);
}

static enum td_err put_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct change *ch = ctx;
    bool same;
    int64_t rev;
    TD_TRY(current(tx, ch, &rev, &same, ei));
    if ((ch->if_match >= 0 && ch->if_match != rev) || (ch->if_match == INV_IF_LISTED && rev == 0))
        return changed_meanwhile(ei);
    ch->created = rev == 0;
    ch->rev = same ? rev : rev + 1;
    if (same)
        return TD_OK;
    TD_TRY(write_row(tx, ch, rev, ei));
    const struct inv_event changed = {tx, ch->serial, ch->actor, ch->txn, ch->now};
    TD_TRY(event_publish(ch->inv->bus, EVENT_DEVICE_CHANGED, &changed, ei));
    return audit_add(tx, ch->now, ch->txn, ch->actor,
                     ch->created ? "inventory.create" : "inventory.update", ch->serial,
                     ch->d->source, ei);
}

enum td_err inv_put(struct inventory *inv, const struct inv_device *d, int64_t if_match,
                    const char *actor, int64_t *ret_rev, bool *ret_created, struct errinfo *ei)
{
    TD_TRY(device_judge(d, ei));
    arena_auto a;
    arena_init(&a, 4096);
    struct inv_device judged = *d;
    if (d->groups)
        TD_TRY(inv_groups_parse(span_str(d->groups), &a, &judged.groups, ei));
    struct change ch;
    change_init(&ch, inv, d->serial, if_match, actor);
    ch.d = &judged;
    TD_TRY(store_write(inv->store, put_job, &ch, ei));
    *ret_rev = ch.rev;
    *ret_created = ch.created;
    return TD_OK;
}

static enum td_err delete_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct change *ch = ctx;
    bool same;
    int64_t rev, changes = 0;
    TD_TRY(current(tx, ch, &rev, &same, ei));
    if (rev == 0)
        return err_set(ei, TD_NOTFOUND, "not in the inventory");
    if (ch->if_match >= 0 && ch->if_match != rev)
        return changed_meanwhile(ei);
    TD_TRY(
        tx_exec(tx, &stmts[INV_DELETE], SV_LIST(SV_TEXT(ch->serial), SV_INT(rev)), &changes, ei));
    if (changes != 1)
        return changed_meanwhile(ei);
    TD_TRY(write_groups(tx, ch->serial, (struct span){NULL, 0}, ei));
    TD_TRY(audit_add(tx, ch->now, ch->txn, ch->actor, "inventory.delete", ch->serial, "", ei));
    const struct inv_event leaving = {
        .tx = tx, .serial = ch->serial, .actor = ch->actor, .txn = ch->txn, .now = ch->now};
    return event_publish(ch->inv->bus, EVENT_DEVICE_LEAVING, &leaving, ei);
}

enum td_err inv_delete(struct inventory *inv, const char *serial, int64_t if_match,
                       const char *actor, struct errinfo *ei)
{
    if (!inv_serial_valid(span_str(serial)))
        return err_set(ei, TD_NOTFOUND, "not in the inventory");
    struct change ch;
    change_init(&ch, inv, serial, if_match, actor);
    return store_write(inv->store, delete_job, &ch, ei);
}

/* --- many devices ---------------------------------------------------------------------------- */

struct import {
    const struct inventory *inv;
    const struct inv_rows *rows;
    const char *source, *actor;
    char txn[RNG_ID_SIZE];
    int64_t now;
    struct inv_import n;
};

static struct sval field(const struct inv_row *row, enum inv_column k)
{
    return row->has[k] ? SV_SPAN(row->fields[k]) : SV_NULL;
}

static enum td_err import_row(struct tx *tx, struct import *im, const struct inv_row *row,
                              struct errinfo *ei)
{
    struct cur c;
    enum td_err e = tx_row(tx, &stmts[INV_IMPORT],
                           SV_LIST(SV_SPAN(row->fields[INV_SERIAL]), field(row, INV_NAME),
                                   field(row, INV_MODEL), field(row, INV_OWNER),
                                   SV_TEXT(im->source), SV_INT(im->now), field(row, INV_GROUPS)),
                           &c, ei);
    if (e == TD_NOTFOUND) {
        im->n.unchanged++;
        return TD_OK;
    }
    TD_TRY(e);
    bool created = cur_int(&c, 0) == 1;
    cur_end(&c);
    im->n.created += created;
    im->n.changed += !created;
    char serial[LIMIT_SERIAL + 1] = "";
    memcpy(serial, row->fields[INV_SERIAL].p, row->fields[INV_SERIAL].n);
    if (row->has[INV_GROUPS])
        TD_TRY(write_groups(tx, serial, row->fields[INV_GROUPS], ei));
    const struct inv_event ev = {tx, serial, im->actor, im->txn, im->now};
    TD_TRY(event_publish(im->inv->bus, EVENT_DEVICE_CHANGED, &ev, ei));
    return audit_add(tx, im->now, im->txn, im->actor,
                     created ? "inventory.create" : "inventory.update", serial, im->source, ei);
}

static enum td_err import_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct import *im = ctx;
    im->n = (struct inv_import){0};
    for (size_t i = 0; i < im->rows->n; i++) {
        im->n.line = im->rows->rows[i].line;
        TD_TRY(import_row(tx, im, &im->rows->rows[i], ei));
    }
    im->n.line = 0;
    char detail[120];
    snprintf(detail, sizeof detail, "{\"created\":%zu,\"changed\":%zu,\"unchanged\":%zu}",
             im->n.created, im->n.changed, im->n.unchanged);
    return audit_add(tx, im->now, im->txn, im->actor, "inventory.import", im->source, detail, ei);
}

enum td_err inv_import_csv(struct inventory *inv, struct span csv, const char *source,
                           const char *actor, struct inv_import *ret, struct errinfo *ei)
{
    *ret = (struct inv_import){0};
    struct span src = span_str(source);
    if (src.n == 0 || src.n > SOURCE_MAX || !inv_text_valid(src))
        return err_reason(ei, TD_INVAL, "invalid-text", "not the name of a source");
    struct inv_rows rows;
    TD_TRY(inv_rows_parse(csv, &rows, &ret->line, ei));
    struct import im = {
        .inv = inv, .rows = &rows, .source = source, .actor = actor, .now = clock_now(inv->clock)};
    rng_id(inv->rng, im.txn);
    enum td_err e = store_write(inv->store, import_job, &im, ei);
    inv_rows_free(&rows);
    if (e == TD_OK)
        *ret = im.n;
    else
        ret->line = im.n.line;
    return e;
}
