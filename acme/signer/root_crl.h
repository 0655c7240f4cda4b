/* The root's own CRL, of issuing CAs: relying parties that check every certificate of a chain
 * (nginx, PostgreSQL) refuse the chain without it. The root's key is seldom at hand, so this list
 * lives as long as the root and is replaced when an issuing CA is revoked. */
#ifndef TD_ACME_SIGNER_ROOT_CRL_H
#define TD_ACME_SIGNER_ROOT_CRL_H

#include "mdm/crypt/crl.h"

/* Writes DIR/root.crl (DER). `revoked`: serial numbers of issuing CAs in hexadecimal, separated by
 * commas, NULL for none; each is listed as cACompromise from now on. */
TD_NODISCARD enum td_err root_crl_write(const char *dir, const struct cert *root,
                                        const struct key *key, const char *revoked,
                                        struct errinfo *ei);

/* The same by hand: reads root.crt and root.key of DIR. */
TD_NODISCARD enum td_err root_crl_make(const char *dir, const char *pass_file, const char *revoked,
                                       struct errinfo *ei);

#endif
