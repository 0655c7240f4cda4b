#include "mdm/store/sweep.h"

static struct sval key_of(const struct store_stmt *page, const struct sweep *pos)
{
    struct span key = span_of(pos->key, pos->n);
    return page->out[1] == 'b' ? SV_BLOB(key) : SV_SPAN(key);
}

/* The last row of the page into *last; how many there are. */
static enum td_err read_page(struct tx *tx, const struct store_stmt *page, int64_t before,
                             size_t max, const struct sweep *pos, struct sweep *last, size_t *ret_n,
                             struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    *ret_n = 0;
    TD_TRY(tx_query(tx, page,
                    SV_LIST(SV_INT(before), SV_INT(pos->at), key_of(page, pos), SV_INT(max)), &c,
                    ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        struct span key = cur_span(&c, 1);
        if (key.n > sizeof last->key) {
            cur_end(&c);
            return err_set(ei, TD_INTERNAL, "%s: a key is too long", page->name);
        }
        last->at = cur_int(&c, 0);
        last->n = key.n;
        if (key.n)
            memcpy(last->key, key.p, key.n);
        ++*ret_n;
    }
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err sweep_step(struct tx *tx, const struct sweep_sql *sql, int64_t before, size_t max,
                       struct sweep *pos, int64_t *ret_gone, bool *ret_more, struct errinfo *ei)
{
    struct sweep last = {0};
    size_t n;
    *ret_gone = 0;
    *ret_more = false;
    TD_TRY(read_page(tx, sql->page, before, max, pos, &last, &n, ei));
    if (n == 0)
        return TD_OK;
    TD_TRY(tx_exec(
        tx, sql->drop,
        SV_LIST(SV_INT(pos->at), key_of(sql->page, pos), SV_INT(last.at), key_of(sql->page, &last)),
        ret_gone, ei));
    *pos = last;
    *ret_more = n == max;
    return TD_OK;
}
