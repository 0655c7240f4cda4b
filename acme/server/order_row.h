/* An order's row: it is order, authorization and challenge in one, as there is one identifier. */
#ifndef TD_ACME_SERVER_ORDER_ROW_H
#define TD_ACME_SERVER_ORDER_ROW_H

#include "acme/server/server_int.h"
#include "acme/server/state.h"

/* Strings live in the arena it was read into. */
struct acme_order {
    const char *id, *profile, *id_type, *identifier, *serial, *token, *error, *evidence_id;
    const char *replaces;    /* the certificate's ARI identifier, NULL */
    struct acme_state state; /* as stored */
    int64_t validated_at, expires_at;
    struct span spki_sha256, cert_serial;
};

/* Reads an order of the request's account into its arena; TD_NOTFOUND (404) also when it is
 * another's, TD_FORBIDDEN when the account no longer stands (acme_account_judge). */
TD_NODISCARD enum td_err acme_order_get(struct tx *tx, const struct acme_call *c, const char *id,
                                        struct acme_order *ret, struct errinfo *ei);

/* The same in a read transaction of its own. */
TD_NODISCARD enum td_err acme_order_read(const struct acme_call *c, const char *id,
                                         struct acme_order *ret, struct errinfo *ei);

/* Moves the order by the table and stores its other members; *o is updated. TD_STATE
 * ("order-not-ready") when the table has no such move or the row is no longer in the state it was
 * read in: two requests at once end in one. */
TD_NODISCARD enum td_err acme_order_move(struct tx *tx, struct acme_order *o, enum acme_event ev,
                                         struct errinfo *ei);

bool acme_order_expired(const struct acme_order *o, int64_t now);

/* The state a client is shown. */
struct acme_state acme_order_state(const struct acme_order *o, int64_t now);

#endif
