/* The two halves of x509_build, between which the lint stands. Tests alone sign without it, to make
 * certificates that are broken on purpose. Internal to mdm/crypt. */
#ifndef TD_CRYPT_X509_BUILD_INT_H
#define TD_CRYPT_X509_BUILD_INT_H

#include "mdm/crypt/x509_build.h"

/* Appends the TBSCertificate. Errors as x509_build. */
TD_NODISCARD enum td_err x509_tbs(const struct x509_spec *spec, const struct cert *issuer,
                                  const struct key *issuer_key, struct buf *ret,
                                  struct errinfo *ei);

/* Signs those bytes, whatever they are: the certificate, in the arena. */
TD_NODISCARD enum td_err x509_seal(struct span tbs, const struct key *issuer_key, struct arena *a,
                                   struct span *ret, struct errinfo *ei);

#endif
