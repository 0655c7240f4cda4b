/* The authorization's one challenge, device-attest-01 (draft-ietf-acme-device-attest-09). */
#ifndef TD_ACME_SERVER_CHALLENGE_H
#define TD_ACME_SERVER_CHALLENGE_H

#include "acme/server/order_row.h"

/* Handler: POST /acme/chal/{id}. Answers synchronously: 200 with the challenge valid, or invalid
 * with its error; a fault of ours leaves it pending (MB-41). */
enum td_err acme_challenge(const struct req *r, struct resp *resp, struct errinfo *ei);

/* The challenge object, as an element. */
TD_NODISCARD enum td_err acme_challenge_json(const struct acme_call *c, const struct acme_order *o,
                                             struct json_w *w, struct errinfo *ei);

#endif
