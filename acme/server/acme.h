/* The ACME server (RFC 8555) with device-attest-01, as Apple's client uses it.
 * Whether a device may have a certificate is asked through ops; this room never includes core. */
#ifndef TD_ACME_SERVER_ACME_H
#define TD_ACME_SERVER_ACME_H

#include "acme/attest/attest.h"
#include "acme/ca/ca.h"
#include "mdm/base/route.h"
#include "mdm/store/sealed.h"
#include "mdm/store/sweep.h"

struct acme;

/* What a certificate profile asks of ACME clients. */
struct acme_policy {
    bool eab_required; /* accounts need an external binding (RFC 8555 section 7.3.4) */
    /* hwType (RFC 4108) of the HardwareModuleName in its certificates; "": they have none */
    char hardware[64];
    int renew_permille; /* of a certificate's life, behind which it is renewed; 0: two thirds */
};

/* What an order brought to light. */
struct acme_news {
    const char *serial;
    const char *facts; /* attested now (attest_facts_json); NULL: access is given */
    int64_t now;
    const char *txn;
};

struct acme_ops {
    void *ctx;
    /* TD_OK when the serial number is listed in the inventory at this moment, TD_NOTFOUND when
     * not; any other error is ours, not the device's. */
    enum td_err (*device_listed)(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei);
    /* What a certificate profile asks; *ret comes zeroed. TD_NOTFOUND when no such profile is
     * issued over ACME. Any thread, also a listener's: it must not wait. NULL: "management" alone.
     */
    enum td_err (*profile_policy)(void *ctx, const char *profile, struct acme_policy *ret,
                                  struct errinfo *ei);
    /* Whether the device may have a certificate of the profile at this moment: TD_FORBIDDEN with
     * its reason. facts: what it attested (attest_facts_json), NULL before. NULL: every listed one.
     */
    enum td_err (*profile_allows)(void *ctx, struct tx *tx, const char *profile, const char *serial,
                                  const char *facts, struct errinfo *ei);
    /* What is known of the device, for the templates of the profile; in the arena. NULL: its serial
     * number alone. */
    enum td_err (*device_facts)(void *ctx, struct tx *tx, const char *serial, const char *facts,
                                struct arena *a, struct profile_facts *ret, struct errinfo *ei);
    /* In the transaction that accepts an attestation, and before the record of an access
     * certificate. NULL where nobody listens. Its own ctx. */
    enum td_err (*device_told)(void *ctx, struct tx *tx, const struct acme_news *n,
                               struct errinfo *ei);
    void *told_ctx;
};

/* The profile of the directory that Link rel="index" names where a URL names none. A profile's name
 * must not be the first word of another resource: acme_profile_name_free. */
#define ACME_DEFAULT_PROFILE "management"
bool acme_profile_name_free(const char *name);

/* Orders in one hour, counted in the database, so over all nodes; 0 sets no limit. */
struct acme_limits {
    int64_t device_orders, device_failures, account_orders;
};

struct acme_conf {
    struct store *store;
    struct ca *ca;
    const struct attest_roots *roots;
    const struct clock *clock;
    struct rng *rng;
    const struct seal *seal; /* opens the keys for external account binding */
    const char *base_url; /* "https://mdm.example.com:8443", no final slash: JWS urls are compared
                             with this, never with Host */
    int64_t order_ttl, nonce_ttl; /* seconds; nonce at least 600 */
    int64_t
        keep_issued; /* orders that issued, with their account; at most the certificate's life */
    int64_t replaced_grace; /* an access certificate that a client replaced is good for so long */
    int64_t idle_accounts;  /* accounts without an order: no more than so many rows, ever */
    const char *terms, *website; /* URLs for the directory; NULL or "" for none */
    unsigned formats_off;        /* attestation formats that are off (attest_formats_parse) */
    struct acme_limits limits;
    struct acme_ops ops;
};

extern const struct store_stmts acme_stmts;

/* The secrets of keys for external account binding. */
extern const struct sealed_column acme_eab_column;

TD_NODISCARD enum td_err acme_open(const struct acme_conf *conf, struct acme **ret,
                                   struct errinfo *ei);
void acme_close(struct acme *a);

/* Routes below /acme (public listener); ctx is the struct acme. Directory:
 * /acme/{profile}/directory. */
extern const struct route acme_routes[];
extern const size_t acme_nroutes;

/* Steps of the cleaners. Orders behind the end of their life, those that issued behind the end of
 * the certificate or keep_issued; accounts behind the end of their last order; keys for external
 * account binding behind their expiry or revocation; evidence that no certificate rests on behind
 * its creation, `before` of which lies behind the life of an order. */
TD_NODISCARD enum td_err acme_clean_orders(struct tx *tx, struct sweep *s, struct errinfo *ei);
TD_NODISCARD enum td_err acme_clean_accounts(struct tx *tx, struct sweep *s, struct errinfo *ei);
TD_NODISCARD enum td_err acme_clean_eab(struct tx *tx, struct sweep *s, struct errinfo *ei);
TD_NODISCARD enum td_err acme_clean_evidence(struct tx *tx, struct sweep *s, struct errinfo *ei);

#endif
