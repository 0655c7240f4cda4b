#include "acme/attest/roots.h"

#include <stdio.h>
#include <stdlib.h>

/* CN=Apple Enterprise Attestation Root CA, P-384, 2022-02-16 to 2047-02-20;
 * https://www.apple.com/certificateauthority/private/ */
static const char apple_pem[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIICJDCCAamgAwIBAgIUQsDCuyxyfFxeq/bxpm8frF15hzcwCgYIKoZIzj0EAwMw\n"
                                "UTEtMCsGA1UEAwwkQXBwbGUgRW50ZXJwcmlzZSBBdHRlc3RhdGlvbiBSb290IENB\n"
                                "MRMwEQYDVQQKDApBcHBsZSBJbmMuMQswCQYDVQQGEwJVUzAeFw0yMjAyMTYxOTAx\n"
                                "MjRaFw00NzAyMjAwMDAwMDBaMFExLTArBgNVBAMMJEFwcGxlIEVudGVycHJpc2Ug\n"
                                "QXR0ZXN0YXRpb24gUm9vdCBDQTETMBEGA1UECgwKQXBwbGUgSW5jLjELMAkGA1UE\n"
                                "BhMCVVMwdjAQBgcqhkjOPQIBBgUrgQQAIgNiAAT6Jigq+Ps9Q4CoT8t8q+UnOe2p\n"
                                "oT9nRaUfGhBTbgvqSGXPjVkbYlIWYO+1zPk2Sz9hQ5ozzmLrPmTBgEWRcHjA2/y7\n"
                                "7GEicps9wn2tj+G89l3INNDKETdxSPPIZpPj8VmjQjBAMA8GA1UdEwEB/wQFMAMB\n"
                                "Af8wHQYDVR0OBBYEFPNqTQGd8muBpV5du+UIbVbi+d66MA4GA1UdDwEB/wQEAwIB\n"
                                "BjAKBggqhkjOPQQDAwNpADBmAjEA1xpWmTLSpr1VH4f8Ypk8f3jMUKYz4QPG8mL5\n"
                                "8m9sX/b2+eXpTv2pH4RZgJjucnbcAjEA4ZSB6S45FlPuS/u4pTnzoz632rA+xW/T\n"
                                "ZwFEh9bhKjJ+5VQ9/Do1os0u3LEkgN/r\n"
                                "-----END CERTIFICATE-----\n";

static const char apple_sha256[] =
    "ccf59ef8fcb3017d97f8b5fa6fa90e7a3f9283f76b55ac6cf6eda8b8b949f05b";

static bool listed(const struct attest_roots *r, const char *sha256)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->anchors[i].sha256, sha256) == 0)
            return true;
    return false;
}

static enum td_err describe(struct attest_anchor *a)
{
    uint8_t hash[SHA256_SIZE];
    cert_sha256(a->cert, hash);
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(a->sha256 + 2 * i, 3, "%02x", hash[i]);
    arena_auto tmp;
    arena_init(&tmp, 65536);
    const char *subject = cert_subject_text(a->cert, &tmp);
    if (!subject)
        return TD_NOMEM;
    snprintf(a->subject, sizeof a->subject, "%s", subject);
    return TD_OK;
}

/* Takes one anchor. One that is listed already is skipped. */
static enum td_err add(struct attest_roots *r, struct cert *cert, bool pinned, struct errinfo *ei)
{
    if (r->n == ATTEST_ROOTS_MAX)
        return err_set(ei, TD_LIMIT, "over %d attestation roots", ATTEST_ROOTS_MAX);
    struct attest_anchor *a = &r->anchors[r->n];
    *a = (struct attest_anchor){.cert = cert, .pinned = pinned};
    TD_TRY(describe(a));
    if (listed(r, a->sha256))
        return TD_OK;
    if (!cert_is_ca(cert) || cert_check_issued(cert, cert, NULL) != TD_OK)
        return err_set(ei, TD_INVAL, "attestation root is not a self-signed CA: %.120s",
                       a->subject);
    /* pathLenConstraint 0 would forbid the Sub CA, whose own path is all that OpenSSL is shown */
    struct span bc;
    if (cert_ext(cert, "2.5.29.19", &bc) == 1 &&
        span_eq(bc, SPAN_LIT("\x30\x06\x01\x01\xff\x02\x01\x00")))
        return err_set(ei, TD_INVAL, "attestation root allows no intermediate CA: %.120s",
                       a->subject);
    TD_TRY(trust_new(&a->cert, 1, &a->trust, ei));
    a->cert = cert_ref(cert);
    r->n++;
    return TD_OK;
}

/* Every certificate of a PEM text. */
static enum td_err add_all(struct attest_roots *r, struct span pem, bool pinned, struct errinfo *ei)
{
    struct cert *certs[ATTEST_ROOTS_MAX];
    size_t n = 0;
    TD_TRY(cert_all_from_pem(pem, certs, TD_NITEMS(certs), &n, ei));
    enum td_err e = TD_OK;
    for (size_t i = 0; i < n; i++) {
        if (e == TD_OK)
            e = add(r, certs[i], pinned, ei);
        cert_free(certs[i]);
    }
    return e;
}

static enum td_err fill(struct attest_roots *r, const struct span *extra, size_t n,
                        struct errinfo *ei)
{
    TD_TRY(attest_subca_new(&r->subca));
    TD_TRY(add_all(r, SPAN_LIT(apple_pem), true, ei));
    if (r->n != 1 || strcmp(r->anchors[0].sha256, apple_sha256) != 0)
        return err_set(ei, TD_INTERNAL, "Apple's attestation root is not the pinned one");
    for (size_t i = 0; i < n; i++)
        TD_TRY(add_all(r, extra[i], false, ei));
    return TD_OK;
}

enum td_err attest_roots_new(const struct span *extra_pem, size_t n, struct attest_roots **ret,
                             struct errinfo *ei)
{
    struct attest_roots *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(ei, TD_NOMEM, "attestation roots");
    enum td_err e = fill(r, extra_pem, n, ei);
    if (e != TD_OK) {
        attest_roots_free(r);
        return e;
    }
    *ret = r;
    return TD_OK;
}

void attest_roots_free(struct attest_roots *r)
{
    if (!r)
        return;
    attest_subca_free(r->subca);
    for (size_t i = 0; i < r->n; i++) {
        trust_free(r->anchors[i].trust);
        cert_free(r->anchors[i].cert);
    }
    free(r);
}

bool attest_roots_at(const struct attest_roots *r, size_t i, const char **ret_subject,
                     const char **ret_sha256, bool *ret_pinned)
{
    if (i >= r->n)
        return false;
    *ret_subject = r->anchors[i].subject;
    *ret_sha256 = r->anchors[i].sha256;
    *ret_pinned = r->anchors[i].pinned;
    return true;
}
