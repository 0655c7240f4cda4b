#include "acme/server/account.h"
#include "acme/server/account_new.h"
#include "acme/server/acme.h"
#include "acme/server/authz.h"
#include "acme/server/certificate.h"
#include "acme/server/challenge.h"
#include "acme/server/directory.h"
#include "acme/server/finalize.h"
#include "acme/server/keychange.h"
#include "acme/server/order.h"
#include "acme/server/order_new.h"
#include "acme/server/orders.h"
#include "acme/server/problem.h"
#include "acme/server/renewal.h"
#include "acme/server/revoke.h"
#include "mdm/base/limits.h"

/* The body that Apple's client sends on GET and HEAD is two bytes; it is ignored. */
#define IDLE_BODY 1024

/* ROUTE_OPEN: the JWS is the authentication, checked by every handler. */
#define ROW(m, p, max, fl, f, d)                                                                   \
    {                                                                                              \
        .methods = (m), .listeners = REQ_ON_PUBLIC, .path = (p), .access = ROUTE_OPEN,             \
        .body_max = (max), .flags = (fl), .fn = (f), .problem = acme_problem, .doc = (d)           \
    }
#define POST(p, f, d) ROW(REQ_POST, p, LIMIT_BODY_JWS, 0, f, d)
#define READ(p, f, d) ROW(REQ_POST, p, LIMIT_BODY_JWS, ROUTE_TRY, f, d)
#define IDLE(p, f, d) ROW(REQ_GET | REQ_HEAD, p, IDLE_BODY, ROUTE_INLINE, f, d)

const struct route acme_routes[] = {
    IDLE("/acme/{profile}/directory", acme_directory, "ACME directory of a certificate profile"),
    IDLE("/acme/new-nonce", acme_new_nonce, "A fresh ACME nonce"),
    POST("/acme/{profile}/directory", acme_directory, "The directory by POST-as-GET"),
    POST("/acme/new-nonce", acme_new_nonce, "A fresh ACME nonce by POST-as-GET"),
    POST("/acme/new-account", acme_new_account, "Creates or finds an ACME account"),
    POST("/acme/{profile}/new-account", acme_new_account,
         "The same where a certificate profile needs an external account binding"),
    POST("/acme/key-change", acme_key_change, "Gives an ACME account another key"),
    POST("/acme/revoke-cert", acme_revoke, "Revokes a certificate, by its key or by an account"),
    ROW(REQ_GET, "/acme/renewal-info/{certid}", IDLE_BODY, 0, acme_renewal_info,
        "When a certificate should be renewed"),
    POST("/acme/{profile}/new-order", acme_new_order, "Creates an ACME order"),
    POST("/acme/acct/{id}", acme_account, "An ACME account"),
    POST("/acme/acct/{id}/orders", acme_orders, "The orders of an ACME account"),
    READ("/acme/order/{id}", acme_order, "An ACME order"),
    POST("/acme/order/{id}/finalize", acme_finalize, "Issues the certificate of a ready order"),
    READ("/acme/authz/{id}", acme_authz, "An ACME authorization"),
    POST("/acme/chal/{id}", acme_challenge, "Answers a device attestation challenge"),
    READ("/acme/cert/{id}", acme_certificate, "The certificate of an order, PEM"),
};
const size_t acme_nroutes = TD_NITEMS(acme_routes);
