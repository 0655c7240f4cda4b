#include "mdm/store/sweep.h"

struct sval sweep_key(const struct store_stmt *page, const struct sweep_pos *pos)
{
    struct span key = span_of(pos->key, pos->n);
    int64_t i = 0;
    switch (page->out[1]) {
    case 'i':
        if (pos->n == sizeof i)
            memcpy(&i, pos->key, sizeof i);
        return SV_INT(i);
    case 'b':
        return SV_BLOB(key);
    default:
        return SV_SPAN(key);
    }
}

static bool key_read(const struct store_stmt *page, const struct cur *c, struct sweep_pos *ret)
{
    int64_t i = page->out[1] == 'i' ? cur_int(c, 1) : 0;
    struct span key = page->out[1] == 'i' ? span_of(&i, sizeof i) : cur_span(c, 1);
    if (key.n > sizeof ret->key)
        return false;
    ret->at = cur_int(c, 0);
    ret->n = key.n;
    if (key.n)
        memcpy(ret->key, key.p, key.n);
    return true;
}

enum td_err sweep_page(struct tx *tx, const struct store_stmt *page, struct sweep *s,
                       struct sweep_pos *ret, struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    size_t n = 0;
    *ret = (struct sweep_pos){0};
    s->gone = 0;
    s->more = false;
    TD_TRY(tx_query(
        tx, page,
        SV_LIST(SV_INT(s->before), SV_INT(s->pos.at), sweep_key(page, &s->pos), SV_INT(s->max)), &c,
        ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        n++;
        if (key_read(page, &c, ret))
            continue;
        cur_end(&c);
        return err_set(ei, TD_INTERNAL, "%s: a key is too long", page->name);
    }
    if (e != TD_NOTFOUND)
        return e;
    s->more = n && n == s->max;
    return n ? TD_OK : TD_NOTFOUND;
}

enum td_err sweep_step(struct tx *tx, const struct store_stmt *page, const struct store_stmt *drop,
                       struct sweep *s, struct errinfo *ei)
{
    struct sweep_pos last;
    enum td_err e = sweep_page(tx, page, s, &last, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    TD_TRY(tx_exec(tx, drop,
                   SV_LIST(SV_INT(s->pos.at), sweep_key(page, &s->pos), SV_INT(last.at),
                           sweep_key(page, &last)),
                   &s->gone, ei));
    s->pos = last;
    return TD_OK;
}
