/* Requests to an OCSP responder, by a reader of our own: the message is short and hostile. */
#include "mdm/base/limits.h"
#include "mdm/crypt/der_int.h"
#include "mdm/crypt/ocsp.h"

#define OID_SHA1 "\x2b\x0e\x03\x02\x1a"
#define OID_SHA256 "\x60\x86\x48\x01\x65\x03\x04\x02\x01"
#define OID_NONCE "\x2b\x06\x01\x05\x05\x07\x30\x01\x02"

#define NONCE_MAX 128 /* RFC 9654 section 2.1 */

static enum digest_alg hash_of(struct span oid)
{
    return span_eq(oid, SPAN_LIT(OID_SHA1))     ? DIGEST_SHA1
           : span_eq(oid, SPAN_LIT(OID_SHA256)) ? DIGEST_SHA256
                                                : DIGEST_MAX;
}

/* CertID (RFC 6960 section 4.1.1). */
static bool read_certid(struct span *in, struct ocsp_certid *ret)
{
    struct der_item it;
    struct span s, alg, oid;
    if (!der_next(in, &it) || it.tag != DER_SEQUENCE)
        return false;
    ret->der = it.raw;
    s = it.val;
    if (!der_get(&s, DER_SEQUENCE, &alg) || !der_get(&alg, DER_OID, &oid) ||
        !(alg.n == 0 || span_eq(alg, SPAN_LIT("\x05\x00"))) ||
        !der_get(&s, DER_OCTET_STRING, &ret->name_hash) ||
        !der_get(&s, DER_OCTET_STRING, &ret->key_hash) || !der_get(&s, DER_INTEGER, &ret->serial) ||
        s.n != 0 || !der_int_ok(ret->serial))
        return false;
    ret->hash = hash_of(oid);
    size_t n = digest_size(ret->hash);
    return ret->hash == DIGEST_MAX || (ret->name_hash.n == n && ret->key_hash.n == n);
}

struct ext {
    struct span oid, val;
    bool critical;
};

static bool read_ext(struct span *list, struct ext *ret)
{
    struct span e, flag;
    *ret = (struct ext){0};
    if (!der_get(list, DER_SEQUENCE, &e) || !der_get(&e, DER_OID, &ret->oid))
        return false;
    if (der_peek(e, DER_BOOLEAN)) {
        if (!der_get(&e, DER_BOOLEAN, &flag) || flag.n != 1)
            return false;
        ret->critical = flag.p[0] != 0;
    }
    return der_get(&e, DER_OCTET_STRING, &ret->val) && e.n == 0;
}

/* Extensions of one request: none is known; a critical one is refused (RFC 6960 section 4.4). */
static bool read_single_exts(struct span in)
{
    struct span list;
    struct ext e;
    if (!der_get(&in, DER_SEQUENCE, &list) || in.n != 0)
        return false;
    while (list.n > 0)
        if (!read_ext(&list, &e) || e.critical)
            return false;
    return true;
}

static bool read_list(struct span list, struct ocsp_req *r)
{
    struct span one, exts;
    for (; list.n > 0; r->nids++) {
        if (r->nids == OCSP_IDS_MAX || !der_get(&list, DER_SEQUENCE, &one) ||
            !read_certid(&one, &r->ids[r->nids]))
            return false;
        if (one.n > 0 && (!der_get(&one, DER_CTX_CONS(0), &exts) || !read_single_exts(exts)))
            return false;
        if (one.n > 0)
            return false;
    }
    return r->nids > 0;
}

/* Only the nonce counts; it stands once, in an OCTET STRING of its own. */
static bool read_exts(struct span in, struct ocsp_req *r)
{
    struct span list;
    struct ext e;
    if (!der_get(&in, DER_SEQUENCE, &list) || in.n != 0)
        return false;
    while (list.n > 0) {
        if (!read_ext(&list, &e))
            return false;
        if (!span_eq(e.oid, SPAN_LIT(OID_NONCE))) {
            if (e.critical)
                return false;
            continue;
        }
        if (r->has_nonce || !der_get(&e.val, DER_OCTET_STRING, &r->nonce) || e.val.n != 0 ||
            r->nonce.n == 0 || r->nonce.n > NONCE_MAX)
            return false;
        r->has_nonce = true;
    }
    return true;
}

/* An optional part, explicitly tagged [n] and of no interest: skipped. */
static bool skip_optional(struct span *in, uint8_t n)
{
    struct span v;
    return !der_peek(*in, DER_CTX_CONS(n)) || der_get(in, DER_CTX_CONS(n), &v);
}

/* version [0], v1 when it is there. */
static bool read_version(struct span *in)
{
    struct span v, version;
    if (!der_peek(*in, DER_CTX_CONS(0)))
        return true;
    return der_get(in, DER_CTX_CONS(0), &v) && der_get(&v, DER_INTEGER, &version) && v.n == 0 &&
           version.n == 1 && version.p[0] == 0;
}

static bool read_req(struct span in, struct ocsp_req *r)
{
    struct span outer, tbs, exts, list;
    if (!der_get(&in, DER_SEQUENCE, &outer) || in.n != 0 || !der_get(&outer, DER_SEQUENCE, &tbs))
        return false;
    /* optionalSignature and requestorName */
    if (!skip_optional(&outer, 0) || outer.n != 0 || !read_version(&tbs) || !skip_optional(&tbs, 1))
        return false;
    if (!der_get(&tbs, DER_SEQUENCE, &list) || !read_list(list, r))
        return false;
    if (tbs.n == 0)
        return true;
    return der_get(&tbs, DER_CTX_CONS(2), &exts) && tbs.n == 0 && read_exts(exts, r);
}

enum td_err ocsp_req_parse(struct span der, struct arena *a, struct ocsp_req *ret,
                           struct errinfo *ei)
{
    if (der.n > LIMIT_BODY_OCSP || !der_well_formed(der))
        return err_set(ei, TD_PARSE, "OCSP request");
    struct span copy = arena_span(a, der);
    if (!copy.p)
        return err_set(ei, TD_NOMEM, "OCSP request");
    struct ocsp_req r = {0};
    if (!read_req(copy, &r))
        return err_set(ei, TD_PARSE, "OCSP request");
    *ret = r;
    return TD_OK;
}
