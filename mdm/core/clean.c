#include "mdm/core/core.h"
#include "mdm/core/sql.h"

enum td_err core_clean_commands(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, CORE_SQL(CMD_PAGE), CORE_SQL(CMD_CLEAN), s, ei);
}

enum td_err core_clean_waiting(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    struct sweep_pos last;
    const struct store_stmt *page = CORE_SQL(WAITING_PAGE);
    enum td_err e = sweep_page(tx, page, s, &last, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    TD_TRY(tx_exec(tx, CORE_SQL(WAITING_CANCEL),
                   SV_LIST(SV_INT(s->pos.at), sweep_key(page, &s->pos), SV_INT(last.at),
                           sweep_key(page, &last), SV_INT(s->now)),
                   &s->gone, ei));
    s->pos = last;
    return TD_OK;
}

enum td_err core_clean_removed(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, CORE_SQL(LEFT_PAGE), CORE_SQL(LEFT_DROP_REMOVED), s, ei);
}

enum td_err core_clean_leaving(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, CORE_SQL(LEFT_PAGE), CORE_SQL(LEFT_DROP_LEAVING), s, ei);
}
