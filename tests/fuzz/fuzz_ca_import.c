/* room: signer */
/* The files of testudo ca import and of testudo-signer sign: a certificate and a request in PEM. */
#include <stdlib.h>

#include "acme/signer/mint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A root of our own, made once; nothing of the input was issued by it. */
static const struct cert *a_root(void)
{
    static struct cert *root;
    struct key *key = NULL;
    if (root)
        return root;
    if (crypt_init(NULL) != TD_OK || key_generate(KEY_P256, &key, NULL) != TD_OK)
        abort();
    const struct mint m = {
        .org = "Fuzz", .cn = "Fuzz Root", .path_len = 1, .life = MINT_ROOT_LIFE, .key = key};
    if (mint_ca(&m, NULL, key, &root, NULL) != TD_OK)
        abort();
    key_free(key);
    return root;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct cert *root = a_root();
    struct span in = span_of(data, size);
    struct errinfo ei = {0};
    key_auto *key = NULL;
    cert_auto *c = NULL;
    if ((mint_csr_key(in, &key, &ei) == TD_OK) != (key != NULL))
        abort();
    if (cert_from_pem(in, &c, &ei) == TD_OK && mint_check(c, root, 1800000000, &ei) == TD_OK)
        abort();
    return 0;
}
