/* testudo db: backup, restore, check, migrate. */
#ifndef TD_WEB_SERVER_DB_WORDS_H
#define TD_WEB_SERVER_DB_WORDS_H

#include "web/server/settings.h"

/* Exit status of these words. */
enum db_status {
    DB_FINE = 0,
    DB_FOUND = 1, /* check found something; a copy is not the same as its source */
    DB_USAGE = 2,
    DB_CANNOT = 3 /* and nothing was changed */
};

/* What stands behind "db": argv is rearranged so that what is left of it (*ret_left from its start)
 * are flags of the configuration. */
struct db_words {
    const char *word, *file, *to;
    bool force, snapshot;
};

/* False for wrong usage; says what is right on standard error. */
bool db_words_parse(int *argc, char **argv, struct db_words *ret);

/* Does it; the exit status of the program. */
int db_words_run(const struct settings *s, const struct db_words *w);

#endif
