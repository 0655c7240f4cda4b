/* How many certificates of an issuing CA still count. */
#ifndef TD_ACME_CA_LIVE_H
#define TD_ACME_CA_LIVE_H

#include "mdm/crypt/x509.h"
#include "mdm/store/store.h"

struct ca_live {
    int64_t good; /* neither revoked nor expired */
    int64_t last; /* when the last of all ends, the revoked ones too; 0 without any */
};

extern const struct store_stmts ca_live_stmts;

TD_NODISCARD enum td_err ca_live_count(struct tx *tx, const uint8_t issuer[static CERT_SKI_SIZE],
                                       int64_t now, struct ca_live *ret, struct errinfo *ei);

#endif
