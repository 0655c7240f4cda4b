/* The ACME server (RFC 8555) with device-attest-01, as Apple's client uses it.
 * Whether a device may have a certificate is asked through ops; this room never includes core. */
#ifndef TD_ACME_SERVER_ACME_H
#define TD_ACME_SERVER_ACME_H

#include "acme/attest/attest.h"
#include "acme/ca/ca.h"
#include "mdm/base/route.h"
#include "mdm/store/sweep.h"

struct acme;

struct acme_ops {
    void *ctx;
    /* TD_OK when the serial number is listed in the inventory at this moment, TD_NOTFOUND when
     * not; any other error is ours, not the device's. */
    enum td_err (*device_listed)(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei);
};

struct acme_conf {
    struct store *store;
    struct ca *ca;
    const struct attest_roots *roots;
    const struct clock *clock;
    struct rng *rng;
    const char *base_url; /* "https://mdm.example.com:8443", no final slash: JWS urls are compared
                             with this, never with Host */
    int64_t order_ttl, nonce_ttl; /* seconds; nonce at least 600 */
    struct acme_ops ops;
};

extern const struct store_stmts acme_stmts;

TD_NODISCARD enum td_err acme_open(const struct acme_conf *conf, struct acme **ret,
                                   struct errinfo *ei);
void acme_close(struct acme *a);

/* Routes below /acme (public listener); ctx is the struct acme. Directory:
 * /acme/{profile}/directory. */
extern const struct route acme_routes[];
extern const size_t acme_nroutes;

/* Steps of the cleaners: orders behind their expiry; accounts that have no order, and evidence that
 * no certificate rests on, behind their creation. `before` for evidence lies behind the life of an
 * order. */
TD_NODISCARD enum td_err acme_clean_orders(struct tx *tx, struct sweep *s, struct errinfo *ei);
TD_NODISCARD enum td_err acme_clean_accounts(struct tx *tx, struct sweep *s, struct errinfo *ei);
TD_NODISCARD enum td_err acme_clean_evidence(struct tx *tx, struct sweep *s, struct errinfo *ei);

#endif
