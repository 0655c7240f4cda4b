/* `testudo cert ...`: certificates and their status, straight in the configured database. */
#ifndef TD_WEB_SERVER_CERT_WORDS_H
#define TD_WEB_SERVER_CERT_WORDS_H

#include "web/server/settings.h"

/* Moves what belongs to these words in front of the arguments, the order kept: words, and --device=
 * --status= --reason= --json. The number of them; the rest is configuration. */
int cert_words_first(int argc, char **argv);

/* Runs them; the program's exit status. */
int cert_words(const struct settings *conf, int argc, char **argv);

#endif
