/* What the errors of PostgreSQL mean here (its manual, appendix A). */
#include "mdm/store/pg_int.h"

static const struct pg_state states[] = {
    {"08", TD_DB, TXN_RACED, true},      /* the connection broke: nothing was committed */
    {"22", TD_INVAL, TXN_STANDS, false}, /* a value out of range */
    {"23503", TD_CONFLICT, TXN_STANDS, false},
    {"23505", TD_EXISTS, TXN_STANDS, false},
    {"23", TD_INTERNAL, TXN_STANDS, false}, /* other constraints are our own mistakes */
    {"25006", TD_DB, TXN_RACED, true},      /* a primary that became a standby */
    {"25P03", TD_DB, TXN_RACED, true},      /* idle in a transaction for too long */
    {"25", TD_DB, TXN_LOST, false},
    {"28", TD_DB, TXN_LOST, true},       /* not let in */
    {"3D", TD_DB, TXN_LOST, true},       /* no such database */
    {"40", TD_BUSY, TXN_RACED, false},   /* serialization failure, deadlock */
    {"42501", TD_DB, TXN_STANDS, false}, /* a privilege is missing */
    {"42", TD_INTERNAL, TXN_STANDS, false},
    {"53100", TD_DB, TXN_STANDS, false}, /* disk full */
    {"53200", TD_NOMEM, TXN_STANDS, false},
    {"53", TD_BUSY, TXN_RACED, true}, /* too many connections */
    {"54", TD_LIMIT, TXN_STANDS, false},
    {"55P03", TD_BUSY, TXN_STANDS, false}, /* lock_timeout */
    {"57014", TD_TIMEOUT, TXN_STANDS, false},
    {"57", TD_DB, TXN_RACED, true}, /* shut down, crashed, starting */
    {"58", TD_IO, TXN_STANDS, false},
    {"", TD_DB, TXN_STANDS, false},
};

static const struct pg_state broken = {"", TD_DB, TXN_RACED, true};

const struct pg_state *pg_state_find(const char *sqlstate)
{
    if (!sqlstate || !*sqlstate)
        return &broken;
    size_t i = 0; /* of two that fit the longer stands before the shorter */
    while (strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)) != 0)
        i++;
    return &states[i];
}
