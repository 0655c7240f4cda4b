/* The composition root: opens every room, ties needs that point upward, serves until told to stop.
 */
#ifndef TD_WEB_SERVER_SERVER_H
#define TD_WEB_SERVER_SERVER_H

#include "mdm/store/store.h"
#include "web/server/settings.h"

struct server;

/* Starts everything. Call with SIGHUP, SIGTERM and SIGINT blocked and before any thread exists:
 * testudo-signer is started here. */
TD_NODISCARD enum td_err server_start(const struct settings *s, struct server **ret,
                                      struct errinfo *ei);

/* Certificates are read again; on error the old ones stay. */
TD_NODISCARD enum td_err server_reload(struct server *s, struct errinfo *ei);

/* Answers what is under way, commits, stops. NULL is fine. */
void server_stop(struct server *s);

/* The path of testudo-signer: configured, or beside this program. */
TD_NODISCARD enum td_err server_signer_path(const struct settings *s, char *out, size_t n,
                                            struct errinfo *ei);

/* Opens the store of these settings with every statement set: STORE_SERVE for the server itself,
 * STORE_SHARED for a word beside it. */
TD_NODISCARD enum td_err server_open_store(const struct settings *s, enum store_use use,
                                           struct store **ret, struct errinfo *ei);

/* Copies the statement sets of all rooms to out[n], as many as fit; how many there are. */
size_t server_stmts(struct store_stmts *out, size_t n);

#endif
