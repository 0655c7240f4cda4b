/* Private keys in the files of a CA directory: PKCS#8 in PEM, encrypted or not, or one line that
 * says where in a PKCS#11 module the key is ("pkcs11:token=...;id=..."). */
#ifndef TD_ACME_SIGNER_KEYFILE_H
#define TD_ACME_SIGNER_KEYFILE_H

#include "acme/signer/hsm.h"
#include "mdm/base/secret.h"
#include "mdm/crypt/key.h"

enum keyfile_kind { KEYFILE_ABSENT, KEYFILE_PLAIN, KEYFILE_ENCRYPTED, KEYFILE_MODULE };

/* What stands under that name, by its first line; a file that is nothing of these is TD_PARSE. */
TD_NODISCARD enum td_err keyfile_look(const char *path, enum keyfile_kind *ret, struct errinfo *ei);

/* "absent", "plain", "encrypted", "pkcs11". */
const char *keyfile_word(enum keyfile_kind k);

/* What opens keys: a passphrase and a module, each of which may be NULL. */
struct keyfile_access {
    const struct secret *pass;
    struct hsm *hsm;
};

/* TD_NOTFOUND when there is none; TD_FORBIDDEN when others can read it; TD_CRYPTO with words for
 * the administrator on a wrong or missing passphrase. */
TD_NODISCARD enum td_err keyfile_read(const char *path, const struct keyfile_access *by,
                                      struct key **ret, struct errinfo *ei);

/* Writes the file (0600, atomically), encrypted when there is a passphrase. */
TD_NODISCARD enum td_err keyfile_write(const char *path, const struct key *key,
                                       const struct secret *pass, bool replace, struct errinfo *ei);

/* A new file that says where the module has the key. */
TD_NODISCARD enum td_err keyfile_write_uri(const char *path, const char *uri, struct errinfo *ei);

#endif
