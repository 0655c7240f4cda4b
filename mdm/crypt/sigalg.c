#include "mdm/crypt/sigalg_int.h"

#include "mdm/crypt/der_int.h"

#define ECDSA_OID "\x2a\x86\x48\xce\x3d\x04\x03"     /* 1.2.840.10045.4.3, then 2, 3, 4 */
#define PKCS1_OID "\x2a\x86\x48\x86\xf7\x0d\x01\x01" /* 1.2.840.113549.1.1, then 11, 12, 13 */
#define ECDSA(d, last)                                                                             \
    {                                                                                              \
        SIGALG_ECDSA, d, SPAN_LIT(ECDSA_OID last), SPAN_LIT("\x30\x0a\x06\x08" ECDSA_OID last)     \
    }
#define RSA(d, last)                                                                               \
    {                                                                                              \
        SIGALG_RSA, d, SPAN_LIT(PKCS1_OID last),                                                   \
            SPAN_LIT("\x30\x0d\x06\x09" PKCS1_OID last "\x05\x00")                                 \
    }

/* The likeliest first. */
static const struct sigalg table[] = {
    ECDSA(DIGEST_SHA256, "\x02"),
    ECDSA(DIGEST_SHA384, "\x03"),
    RSA(DIGEST_SHA256, "\x0b"),
    RSA(DIGEST_SHA384, "\x0c"),
    RSA(DIGEST_SHA512, "\x0d"),
    ECDSA(DIGEST_SHA512, "\x04"),
    {SIGALG_ED25519, DIGEST_SHA512, SPAN_LIT("\x2b\x65\x70"),
     SPAN_LIT("\x30\x05\x06\x03\x2b\x65\x70")},
};

const struct sigalg *sigalg_find(struct span algid)
{
    struct span oid;
    if (!der_get(&algid, DER_OID, &oid))
        return NULL;
    for (size_t i = 0; i < TD_NITEMS(table); i++) {
        if (!span_eq(oid, table[i].oid))
            continue;
        /* RFC 4055 section 5: NULL for RSA, absent accepted; RFC 5758 section 3.2: absent */
        bool null = span_eq(algid, SPAN_LIT("\x05\x00"));
        return algid.n == 0 || (table[i].family == SIGALG_RSA && null) ? &table[i] : NULL;
    }
    return NULL;
}

static enum sigalg_family family_of(enum key_type t)
{
    return t == KEY_RSA ? SIGALG_RSA : t == KEY_ED25519 ? SIGALG_ED25519 : SIGALG_ECDSA;
}

const struct sigalg *sigalg_of_key(const struct key *k)
{
    static const enum digest_alg by_type[] = {
        [KEY_P256] = DIGEST_SHA256, [KEY_P384] = DIGEST_SHA384,    [KEY_P521] = DIGEST_SHA512,
        [KEY_RSA] = DIGEST_SHA256,  [KEY_ED25519] = DIGEST_SHA512,
    };
    enum key_type t = key_type(k);
    if (t == KEY_OTHER)
        return NULL;
    for (size_t i = 0; i < TD_NITEMS(table); i++)
        if (table[i].family == family_of(t) && table[i].digest == by_type[t])
            return &table[i];
    return NULL;
}

bool sigalg_fits(const struct sigalg *s, const struct key *k)
{
    return key_type(k) != KEY_OTHER && s->family == family_of(key_type(k));
}
