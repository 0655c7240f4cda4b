/* Accounts (RFC 8555 sections 7.1.2, 7.3): Apple's client makes one for each certificate. */
#ifndef TD_ACME_SERVER_ACCOUNT_H
#define TD_ACME_SERVER_ACCOUNT_H

#include "acme/server/server_int.h"

/* Handlers: POST /acme/new-account, /acme/acct/{id}. */
enum td_err acme_new_account(const struct req *r, struct resp *resp, struct errinfo *ei);
enum td_err acme_account(const struct req *r, struct resp *resp, struct errinfo *ei);

/* The key of c->account_id, from the cache or the database; owned (key_free). TD_NOTFOUND. */
TD_NODISCARD enum td_err acme_account_key(const struct acme_call *c, struct key **ret,
                                          struct errinfo *ei);

/* TD_OK when the account stands in this transaction; TD_NOTFOUND "accountDoesNotExist" or
 * TD_FORBIDDEN "account-deactivated". */
TD_NODISCARD enum td_err acme_account_check(struct tx *tx, const char *id, struct errinfo *ei);

/* The verdict on a status as stored. */
TD_NODISCARD enum td_err acme_account_status(struct span status, struct errinfo *ei);

#endif
