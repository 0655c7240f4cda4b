/* room: crypt */
/* Certificates: every accessor works on what is accepted, and it parses again to the same. */
#include "mdm/crypt/x509.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct cert *c, struct arena *a)
{
    struct span v;
    uint8_t md[SHA256_SIZE];
    cert_sha256(c, md);
    cert_spki_sha256(c, md);
    (void)cert_cn(c, a);
    if (!cert_subject_text(c, a) && a->used < a->max / 2)
        abort();
    if (cert_ext(c, "2.5.29.17", &v) > 0 && v.n > cert_der(c).n)
        abort();
    if (cert_key(c) != cert_key(c))
        abort();
    (void)!cert_check_issued(c, c, NULL);
    struct trust *t = NULL;
    if (trust_new(NULL, 0, &t, NULL) != TD_OK)
        abort();
    const struct cert *chain[] = {c};
    if (trust_verify(t, c, chain, 1, &(struct trust_opts){.no_time = true}, NULL) == TD_OK)
        abort();
    trust_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena_auto a;
    arena_init(&a, 1 << 20);
    cert_auto *c = NULL, *again = NULL;
    if (cert_parse(span_of(data, size), &c, NULL) != TD_OK)
        return 0;
    if (!span_eq(cert_der(c), span_of(data, size)))
        abort();
    use(c, &a);
    buf_auto b;
    buf_init(&b, 1 << 18);
    if (cert_to_pem(c, &b) != TD_OK || cert_from_pem(buf_view(&b), &again, NULL) != TD_OK ||
        !span_eq(cert_der(c), cert_der(again)))
        abort();
    return 0;
}
