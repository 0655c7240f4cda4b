#include "mdm/crypt/p384.h"

#include <nettle/ecc-curve.h>
#include <nettle/ecdsa.h>

#include "mdm/crypt/der_int.h"

#define COORDINATE 48
#define POINT (1 + 2 * COORDINATE)

static void number(mpz_t out, struct span be)
{
    mpz_import(out, be.n, 1, 1, 1, 0, be.p);
}

/* A positive INTEGER of at most the curve's size. */
static bool get_number(struct span *in, mpz_t out)
{
    struct span v;
    if (!der_get(in, DER_INTEGER, &v) || !der_int_ok(v) || v.p[0] & 0x80 || v.n > COORDINATE + 1)
        return false;
    number(out, v);
    return true;
}

static bool get_signature(struct span sig, struct dsa_signature *out)
{
    struct span seq;
    return der_get(&sig, DER_SEQUENCE, &seq) && sig.n == 0 && get_number(&seq, out->r) &&
           get_number(&seq, out->s) && seq.n == 0;
}

static bool get_point(struct span point, struct ecc_point *out)
{
    if (point.n != POINT || point.p[0] != 4)
        return false;
    mpz_t x, y;
    mpz_init(x);
    mpz_init(y);
    number(x, span_sub(point, 1, COORDINATE));
    number(y, span_sub(point, 1 + COORDINATE, COORDINATE));
    bool ok = ecc_point_set(out, x, y) == 1;
    mpz_clear(x);
    mpz_clear(y);
    return ok;
}

bool p384_verify(struct span point, struct span md, struct span sig)
{
    struct ecc_point pub;
    struct dsa_signature rs;
    ecc_point_init(&pub, nettle_get_secp_384r1());
    dsa_signature_init(&rs);
    bool ok = get_point(point, &pub) && get_signature(sig, &rs) &&
              ecdsa_verify(&pub, md.n, md.p, &rs) == 1;
    dsa_signature_clear(&rs);
    ecc_point_clear(&pub);
    return ok;
}
