/* testudo init: the first state of a server. Whatever exists already is left as it is. */
#ifndef TD_WEB_SERVER_INIT_H
#define TD_WEB_SERVER_INIT_H

#include "web/server/settings.h"

/* argv behind the word "init"; prints what it did. The exit status of the program. */
int init_main(int argc, char **argv, char *const *env);

/* testudo tls renew: a fresh server certificate from our CA in the configured place; the server
 * takes it on SIGHUP. */
int init_tls_renew(const struct settings *s);

/* testudo token create: a further API token, printed once. */
int init_token(const struct settings *s, const char *name, const char *scopes);

#endif
