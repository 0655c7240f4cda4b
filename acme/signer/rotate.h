/* Another issuing CA: made here when the root's key is here, else by a request that the offline
 * root signs. Nothing of it needs the server to stop; the server takes it on SIGHUP.
 *
 * One that stands by is served (certificate, OCSP, CRL) and issues nothing: nodes learn it one
 * after the other, and when all have it, it is made the active one on each.
 *
 * The order of the files is such that a crash leaves the CA as it was or as it is to be, and the
 * same word run again finishes: the new key is durable under pending.key, the old certificate and
 * key get a name of their own, the new key its own, then issuing.crt is replaced by a rename, which
 * is the moment that counts. */
#ifndef TD_ACME_SIGNER_ROTATE_H
#define TD_ACME_SIGNER_ROTATE_H

#include "acme/signer/cadir.h"

struct rotate_opts {
    const char *dir, *pass_file;
    const char *root_key; /* NULL: DIR/root.key */
    const char *key_uri;  /* where the new key is or is made, in place of ca.ini's; NULL */
    bool standby;         /* the new one stands by and does not become active */
};

/* A new issuing CA, signed by the root's key. *ret_hex is its identifier. TD_EXISTS when one stands
 * by already. */
TD_NODISCARD enum td_err rotate_ca(const struct rotate_opts *o,
                                   char ret_hex[static 2 * CERT_SKI_SIZE + 1], struct errinfo *ei);

/* The request for one, PEM appended; the same again until its certificate is imported. */
TD_NODISCARD enum td_err rotate_csr(const struct rotate_opts *o, struct buf *pem,
                                    struct errinfo *ei);

/* Signs such a request with the root's key (root.crt, ca.ini and the key are enough of a CA). Of
 * the request only the key counts. */
TD_NODISCARD enum td_err rotate_sign(const struct rotate_opts *o, const char *csr_file,
                                     const char *cert_file, struct errinfo *ei);

/* Verifies the certificate in the PEM file (mint_check), finds its key, makes it the active one or
 * one that stands by. One that is so already is fine. */
TD_NODISCARD enum td_err rotate_import(const struct rotate_opts *o, const char *cert_file,
                                       char ret_hex[static 2 * CERT_SKI_SIZE + 1],
                                       struct errinfo *ei);

/* Makes the issuing CA that stands by the active one; with `id`, 40 hexadecimal digits, the one of
 * that identifier, which is fine when it is active already. The error says what is wrong with it:
 * TD_NOTFOUND (none, or not its key), TD_INVAL (not valid now), TD_STATE (several, none is named),
 * TD_CRYPTO (not of this root, another key), TD_EXISTS (it was active before). */
TD_NODISCARD enum td_err rotate_activate(const struct rotate_opts *o, const char *id,
                                         char ret_hex[static 2 * CERT_SKI_SIZE + 1],
                                         struct errinfo *ei);

#endif
