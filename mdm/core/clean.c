#include "mdm/core/core.h"
#include "mdm/core/sql.h"

enum td_err core_clean_commands(struct tx *tx, int64_t before, size_t max, int64_t *ret_gone,
                                struct errinfo *ei)
{
    return tx_exec(tx, CORE_SQL(CMD_CLEAN), SV_LIST(SV_INT(before), SV_INT(max)), ret_gone, ei);
}

enum td_err core_expire_commands(struct tx *tx, int64_t now, int64_t before, size_t max,
                                 int64_t *ret_gone, struct errinfo *ei)
{
    return tx_exec(tx, CORE_SQL(CMD_EXPIRE), SV_LIST(SV_INT(now), SV_INT(before), SV_INT(max)),
                   ret_gone, ei);
}

enum td_err core_clean_removed(struct tx *tx, int64_t before, size_t max, struct sweep *pos,
                               int64_t *ret_gone, bool *ret_more, struct errinfo *ei)
{
    const struct sweep_sql sql = {CORE_SQL(LEFT_PAGE), CORE_SQL(LEFT_DROP_REMOVED)};
    return sweep_step(tx, &sql, before, max, pos, ret_gone, ret_more, ei);
}

enum td_err core_clean_leaving(struct tx *tx, int64_t before, size_t max, struct sweep *pos,
                               int64_t *ret_gone, bool *ret_more, struct errinfo *ei)
{
    const struct sweep_sql sql = {CORE_SQL(LEFT_PAGE), CORE_SQL(LEFT_DROP_LEAVING)};
    return sweep_step(tx, &sql, before, max, pos, ret_gone, ret_more, ei);
}
