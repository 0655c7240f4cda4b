#include "mdm/store/outbox.h"

#include "mdm/wire/json.h"

#define DATA_MAX 32768

enum { ADD, ADD_TO, QUEUE, QUEUE_TO, PAGE, DROP_QUEUE, DROP, STMT_MAX };

#define INSERT                                                                                     \
    "INSERT INTO outbox (id, at, txn, type, actor, device, certificate, data) SELECT ?1, ?2, ?3, " \
    "?4, ?5, ?6, ?7, ?8 "
/* WHERE: or ON CONFLICT would be read as a join's */
#define UNLESS_THERE " ON CONFLICT (id) DO NOTHING RETURNING seq"
#define RANGE "at >= ?1 AND at <= ?3 AND (at, seq) > (?1, ?2) AND (at, seq) <= (?3, ?4)"

static const struct store_stmt stmts[STMT_MAX] = {
    [ADD] = {"outbox.add",
             INSERT "WHERE EXISTS (SELECT 1 FROM outbox_types WHERE type = ?4)" UNLESS_THERE,
             "titttttt", "i"},
    [ADD_TO] = {"outbox.add_to", INSERT "WHERE ?2 IS NOT NULL" UNLESS_THERE, "titttttt", "i"},
    [QUEUE] = {"outbox.queue",
               "INSERT INTO outbox_queue (sink, event, seq, at) SELECT sink, ?1, ?2, ?3 FROM "
               "outbox_types WHERE type = ?4",
               "tiit", ""},
    [QUEUE_TO] = {"outbox.queue_to",
                  "INSERT INTO outbox_queue (sink, event, seq, at) VALUES (?4, ?1, ?2, ?3)", "tiit",
                  ""},
    [PAGE] = {"outbox.page", SWEEP_PAGE("outbox", "at", "seq"), SWEEP_PAGE_IN("i"),
              SWEEP_PAGE_OUT("i")},
    [DROP_QUEUE] = {"outbox.clean_queue",
                    "DELETE FROM outbox_queue WHERE seq IN (SELECT seq FROM outbox WHERE " RANGE
                    ")",
                    SWEEP_DROP_IN("i"), ""},
    [DROP] = {"outbox.clean", SWEEP_DROP("outbox", "at", "seq"), SWEEP_DROP_IN("i"), ""},
};

const struct store_stmts outbox_stmts = {stmts, STMT_MAX};

static const char *const names[OUTBOX_TYPES] = {
#define OUTBOX(symbol, name, doc) [OUTBOX_##symbol] = (name),
#include "mdm/store/outbox.def"
#undef OUTBOX
};

const char *outbox_name(enum outbox_type t)
{
    return (unsigned)t < OUTBOX_TYPES ? names[t] : NULL;
}

enum outbox_type outbox_by_name(struct span name)
{
    unsigned t = 0;
    while (t < OUTBOX_TYPES && !span_eq_str(name, names[t]))
        t++;
    return (enum outbox_type)t;
}

static void put_data(struct buf *b, const struct outbox_event *ev)
{
    struct json_w w;
    json_w_init(&w, b);
    json_open(&w);
    for (size_t i = 0; i < OUTBOX_FIELDS && ev->data[i].key; i++)
        if (ev->data[i].value)
            json_kv_span(&w, ev->data[i].key,
                         span_sub(span_str(ev->data[i].value), 0, OUTBOX_VALUE_MAX));
    json_close(&w);
}

static const char *or_none(const char *s)
{
    return s ? s : "";
}

static enum td_err add(struct tx *tx, const char *sink, const struct outbox_event *ev,
                       struct errinfo *ei)
{
    const char *type = outbox_name(ev->type), *id = ev->id;
    char fresh[RNG_ID_SIZE];
    if (!type)
        return err_set(ei, TD_INTERNAL, "no such event");
    if (!id) { /* a job that runs again tells of it under another one: only one is committed */
        rng_id(&rng_system, fresh);
        id = fresh;
    }
    buf_auto data;
    buf_init(&data, DATA_MAX);
    put_data(&data, ev);
    if (data.err != TD_OK)
        return err_set(ei, data.err, "no memory for an event");
    struct cur c;
    enum td_err e =
        tx_row(tx, &stmts[sink ? ADD_TO : ADD],
               SV_LIST(SV_TEXT(id), SV_INT(ev->at), SV_TEXT(or_none(ev->txn)), SV_TEXT(type),
                       SV_TEXT(or_none(ev->actor)), SV_TEXT(or_none(ev->device)),
                       SV_TEXT(or_none(ev->certificate)), SV_SPAN(buf_view(&data))),
               &c, ei);
    if (e != TD_OK)
        return e == TD_NOTFOUND ? TD_OK : e;
    int64_t seq = cur_int(&c, 0);
    cur_end(&c);
    return tx_exec(tx, &stmts[sink ? QUEUE_TO : QUEUE],
                   SV_LIST(SV_TEXT(id), SV_INT(seq), SV_INT(ev->at), SV_TEXT(sink ? sink : type)),
                   NULL, ei);
}

enum td_err outbox_add(struct tx *tx, const struct outbox_event *ev, struct errinfo *ei)
{
    return ev->txn ? add(tx, NULL, ev, ei) : TD_OK;
}

enum td_err outbox_add_to(struct tx *tx, const char *sink, const struct outbox_event *ev,
                          struct errinfo *ei)
{
    return add(tx, sink, ev, ei);
}

enum td_err outbox_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    struct sweep_pos last;
    enum td_err e = sweep_page(tx, &stmts[PAGE], s, &last, ei);
    if (e != TD_OK)
        return e == TD_NOTFOUND ? TD_OK : e;
    const struct sval range[] = {SV_INT(s->pos.at), sweep_key(&stmts[PAGE], &s->pos),
                                 SV_INT(last.at), sweep_key(&stmts[PAGE], &last)};
    TD_TRY(tx_exec(tx, &stmts[DROP_QUEUE], range, TD_NITEMS(range), NULL, ei));
    TD_TRY(tx_exec(tx, &stmts[DROP], range, TD_NITEMS(range), &s->gone, ei));
    s->pos = last;
    return TD_OK;
}
