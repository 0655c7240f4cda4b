/* What the files of profiles/enroll share. Internal to profiles/enroll. */
#ifndef TD_PROFILES_ENROLL_ENROLL_INT_H
#define TD_PROFILES_ENROLL_ENROLL_INT_H

#include <pthread.h>

#include "profiles/enroll/enroll.h"

#define ENROLL_REFUSALS 256

struct enroll {
    struct enroll_conf conf;
    /* refusals written lately: a link that is asked for again and again costs one row a minute */
    pthread_mutex_t mutex;
    struct {
        uint64_t key;
        int64_t at_ms;
    } refusals[ENROLL_REFUSALS];
};

/* The statements of this room. */
enum enroll_sql_id {
    ENROLL_SQL_ADD,
    ENROLL_SQL_FIND,
    ENROLL_SQL_USE,
    ENROLL_SQL_CANCEL,
    ENROLL_SQL_ASSIGN,
    ENROLL_SQL_ASSIGNED,
    ENROLL_SQL_ASSIGNMENTS,
    ENROLL_SQL_UNASSIGN,
    ENROLL_SQL_UNASSIGN_ALL,
    ENROLL_SQL_PAGE,
    ENROLL_SQL_CLEAN,
    ENROLL_SQL_MAX
};
extern const struct store_stmt enroll_sql[ENROLL_SQL_MAX];

#endif
