/* The server's URLs: always from the configured base, never from Host. Identifiers and paths use
 * unreserved characters alone, as Apple's client escapes percent signs a second time. */
#ifndef TD_ACME_SERVER_URL_H
#define TD_ACME_SERVER_URL_H

#include "acme/server/server_int.h"

/* base_url followed by the formatted path, in the arena; NULL when out of memory. */
char *acme_url(const struct acme *a, struct arena *arena, const char *fmt, ...) TD_PRINTF(3, 4);

/* True for the 22 characters of rng_id. */
bool acme_id_valid(struct span s);

/* The first path parameter as an object's id, in the arena; TD_NOTFOUND when it cannot be one. */
TD_NODISCARD enum td_err acme_id_param(const struct req *r, const char **ret, struct errinfo *ei);

#endif
