/* The passphrase of the keys in files. */
#ifndef TD_ACME_SIGNER_PASSWD_H
#define TD_ACME_SIGNER_PASSWD_H

#include "mdm/base/err.h"

/* Encrypts every private key of the directory anew under the passphrase in new_file, each file by a
 * rename. A key that is under the new one already is left: after a crash the same word run again
 * finishes. pass_file is NULL when they are not encrypted. *ret_n: how many were written. */
TD_NODISCARD enum td_err passwd_change(const char *dir, const char *pass_file, const char *new_file,
                                       unsigned *ret_n, struct errinfo *ei);

#endif
