/* Which secrets of the database are sealed. */
#ifndef TD_WEB_SERVER_SECRETS_H
#define TD_WEB_SERVER_SECRETS_H

#include "mdm/store/sealed.h"

/* Seals what lies in clear or under an older key, of every column, at each start. What does not
 * open is logged and stays: it stops its own use alone. */
TD_NODISCARD enum td_err secrets_renew(struct store *s, const struct seal *seal,
                                       struct errinfo *ei);

#endif
