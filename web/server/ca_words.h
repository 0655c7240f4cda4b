/* testudo ca: the words that look after the certificate authority. The work on keys is
 * testudo-signer's, started for it; nothing here sees one. */
#ifndef TD_WEB_SERVER_CA_WORDS_H
#define TD_WEB_SERVER_CA_WORDS_H

#include "web/server/settings.h"

/* Puts the words and the options that are this command's own in front of the settings' flags;
 * returns how many. */
int ca_words_sort(int argc, char **argv);

/* Runs `testudo ca WORD...`; the exit status. */
int ca_words_run(const struct settings *s, int n, char *const *words);

#endif
