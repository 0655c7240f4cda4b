/* libmicrohttpd behind one interface: a listener with its event threads. The only room file that
 * includes the library is mhd.c. */
#ifndef TD_WEB_HTTP_MHD_H
#define TD_WEB_HTTP_MHD_H

#include "web/http/deadline.h"
#include "web/http/exchange.h"

struct mhd;

/* Opens the listener's socket and serves it. `sh`, `l` and `deadlines` must outlive it. */
TD_NODISCARD enum td_err mhd_open(struct http_shared *sh, const struct http_listener *l,
                                  struct deadlines *deadlines, struct mhd **ret,
                                  struct errinfo *ei);

/* What the deadlines of connections run. */
void mhd_expired(struct deadline *d);

unsigned mhd_port(const struct mhd *m);
TD_NODISCARD enum td_err mhd_reload(struct mhd *m, struct errinfo *ei);

/* Accepts no more connections; those open go on. */
void mhd_quiesce(struct mhd *m);

/* Closes every connection and frees. No request may be with a worker any more. NULL is fine. */
void mhd_close(struct mhd *m);

#endif
