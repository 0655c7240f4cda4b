/* The first part of every POST: content type -> JWS -> algorithm -> nonce -> url -> key ->
 * signature (reference section 3.1). Authorisation to an object is the handler's, by account. */
#ifndef TD_ACME_SERVER_CALL_H
#define TD_ACME_SERVER_CALL_H

#include "acme/server/server_int.h"

/* For requests signed by an account (kid). Reasons: "content-type", those of jws_parse,
 * "nonce-bad", "url-mismatch", "key-form" (jwk where kid is wanted or the reverse),
 * "account-unknown", those of jws_verify. */
TD_NODISCARD enum td_err acme_call_kid(const struct req *r, struct resp *resp,
                                       struct acme_call *ret, struct errinfo *ei);

/* For newAccount (jwk): ret->account_id is NULL, ret->jwk the key. */
TD_NODISCARD enum td_err acme_call_jwk(const struct req *r, struct resp *resp,
                                       struct acme_call *ret, struct errinfo *ei);

/* For revokeCert: by kid or by jwk. */
TD_NODISCARD enum td_err acme_call_either(const struct req *r, struct resp *resp,
                                          struct acme_call *ret, struct errinfo *ei);

/* store_read of a request; on the listener's thread (ROUTE_TRY) acme_call_again instead of a wait.
 */
TD_NODISCARD enum td_err acme_call_read(const struct acme_call *c, store_fn fn, void *ctx,
                                        struct errinfo *ei);

/* TD_AGAIN: the request runs anew where it may wait, with the same nonce. It has changed nothing.
 */
TD_NODISCARD enum td_err acme_call_again(const struct acme_call *c);

/* TD_OK for POST-as-GET; "malformed" when there is a payload. */
TD_NODISCARD enum td_err acme_call_as_get(const struct acme_call *c, struct errinfo *ei);

/* The payload as a JSON object. */
TD_NODISCARD enum td_err acme_call_json(const struct acme_call *c, struct json **ret,
                                        struct errinfo *ei);

/* Starts an answer: sets status and type, and the writer on the body. */
void acme_reply(struct acme_call *c, int status, struct json_w *w);

/* Adds Location (or another header) with that URL; TD_NOMEM for a NULL url. */
TD_NODISCARD enum td_err acme_reply_url(struct acme_call *c, const char *name, const char *url,
                                        struct errinfo *ei);

/* Ends an answer: the sticky error of its body. */
TD_NODISCARD enum td_err acme_reply_end(struct acme_call *c, struct errinfo *ei);

#endif
