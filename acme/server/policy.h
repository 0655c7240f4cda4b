/* What a certificate profile asks of ACME clients, through the server's ops. */
#ifndef TD_ACME_SERVER_POLICY_H
#define TD_ACME_SERVER_POLICY_H

#include "acme/server/server_int.h"

/* TD_NOTFOUND "not-found" when the profile has no directory. The name is copied to `arena`. */
TD_NODISCARD enum td_err acme_policy_get(const struct acme *a, struct span profile,
                                         struct arena *arena, struct acme_policy *ret,
                                         struct errinfo *ei);

#endif
