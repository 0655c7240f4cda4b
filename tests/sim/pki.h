/* A fake of Apple's attestation PKI: P-384 root and Sub CA, leaves with Apple's extensions. */
#ifndef TD_SIM_PKI_H
#define TD_SIM_PKI_H

#include "tests/sim/ossl.h"

struct pki;

/* Makes root.pem, root.key, sub.pem and sub.key in `dir` (created when absent), and a second PKI
 * in dir/foreign that no server trusts. TD_EXISTS when there is one already; nothing is touched. */
enum td_err pki_init(const char *dir, int64_t now, struct errinfo *ei);

/* Loads the Sub CA of a PKI directory. The caller frees. */
enum td_err pki_load(const char *dir, struct pki **ret, struct errinfo *ei);
void pki_free(struct pki *p);

/* What a leaf says. NULL strings leave their extension out. */
struct pki_facts {
    const char *serial, *udid, *model, *os_version, *sepos_version, *llb_version;
    const char *secure_boot; /* Macs only */
    int sip, kexts;          /* Macs only; -1 leaves the extension out */
};

/* A leaf over the public half of `key`: validity from 24 h before `now` to 90 d after. The
 * freshness is written raw; an empty span leaves the extension out. Appends the DER. Any thread. */
enum td_err pki_leaf(struct pki *p, const struct pki_facts *f, struct span freshness, EVP_PKEY *key,
                     int64_t now, struct buf *b, struct errinfo *ei);

/* DER of the Sub CA certificate, borrowed. */
struct span pki_sub_der(const struct pki *p);

#endif
