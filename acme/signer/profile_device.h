/* A device's certificate from its profile (a file of the CA directory, or a built-in one) and what
 * is known of the device. Pure functions. */
#ifndef TD_ACME_SIGNER_PROFILE_DEVICE_H
#define TD_ACME_SIGNER_PROFILE_DEVICE_H

#include "acme/signer/cadir.h"
#include "acme/signer/proto/signer_msg.h"
#include "mdm/crypt/x509_build.h"

/* The request alone, before its key is looked at: TD_FORBIDDEN "evidence-missing", TD_INVAL
 * "device-serial". */
TD_NODISCARD enum td_err profile_device_check(const struct profile_conf *p,
                                              const struct signer_msg_issue *m, struct errinfo *ei);

/* Checks the request against the profile (kind of key, facts) and fills in everything but
 * the serial number; borrows from the message, the profile, the key and the arena. Refusals:
 * those of profile_device_check; TD_FORBIDDEN "fact-missing", "fact-unfit"; TD_UNSUPPORTED
 * "key-unsupported". */
TD_NODISCARD enum td_err profile_device_spec(const struct profile_conf *p,
                                             const struct cadir_conf *conf,
                                             const struct signer_msg_issue *m,
                                             const struct key *key, int64_t now, struct arena *a,
                                             struct x509_spec *ret, struct errinfo *ei);

#endif
