#include "acme/attest/attobj.h"

#include "acme/attest/cbor.h"
#include "acme/attest/cbor_guard.h"
#include "acme/attest/refuse.h"
#include "mdm/base/limits.h"

static enum td_err malformed(struct errinfo *ei, const char *what)
{
    return attest_refuse(ei, "cbor-malformed", "%s", what);
}

/* Reads a map's head; TD_PARSE when it is none. */
static enum td_err map_open(struct rd *r, size_t *ret_pairs)
{
    struct attest_cbor it;
    TD_TRY(attest_cbor_next(r, &it));
    if (it.kind != ATTEST_CBOR_MAP)
        return TD_PARSE;
    *ret_pairs = it.n;
    return TD_OK;
}

/* The value of one text member: its bytes and (in *it) its head. Other members are skipped. */
static enum td_err member(struct rd *r, struct span *ret_key, struct attest_cbor *it,
                          struct span *ret_bytes)
{
    struct attest_cbor key;
    TD_TRY(attest_cbor_next(r, &key));
    *ret_key = key.kind == ATTEST_CBOR_TEXT ? key.s : (struct span){NULL, 0};
    struct rd peek = *r;
    TD_TRY(attest_cbor_next(&peek, it));
    return attest_cbor_skip(r, ret_bytes);
}

enum td_err attobj_parse(struct span s, struct attobj *ret, struct errinfo *ei)
{
    struct errinfo why = {0};
    if (cbor_guard(s, &why) != TD_OK)
        return malformed(ei, why.msg);
    struct rd r = rd_init(s);
    struct attobj o = {0};
    size_t pairs;
    if (map_open(&r, &pairs) != TD_OK)
        return malformed(ei, "the attestation object is no map");
    while (pairs-- > 0) {
        struct span key, bytes;
        struct attest_cbor it;
        if (member(&r, &key, &it, &bytes) != TD_OK)
            return malformed(ei, "the attestation object cannot be read");
        if (span_eq_str(key, "fmt") && it.kind == ATTEST_CBOR_TEXT)
            o.fmt = it.s;
        else if (span_eq_str(key, "attStmt") && it.kind == ATTEST_CBOR_MAP)
            o.att_stmt = bytes;
    }
    if (!o.fmt.n || !o.att_stmt.n)
        return malformed(ei, "the attestation object lacks fmt or attStmt");
    *ret = o;
    return TD_OK;
}

static enum td_err certificates(struct rd *r, size_t n, struct span *ret, struct errinfo *ei)
{
    for (size_t i = 0; i < n; i++) {
        struct attest_cbor it;
        if (attest_cbor_next(r, &it) != TD_OK || it.kind != ATTEST_CBOR_BYTES)
            return attest_refuse(ei, "x5c-malformed", "x5c holds something else than bytes");
        if (it.s.n == 0 || it.s.n > LIMIT_X5C_CERT)
            return attest_refuse(ei, "x5c-malformed", "a certificate in x5c has %zu bytes", it.s.n);
        ret[i] = it.s;
    }
    return TD_OK;
}

enum td_err attobj_x5c(struct span att_stmt, struct span *ret, size_t max, size_t *ret_n,
                       struct errinfo *ei)
{
    struct rd r = rd_init(att_stmt);
    size_t pairs;
    if (map_open(&r, &pairs) != TD_OK)
        return malformed(ei, "attStmt is no map");
    while (pairs-- > 0) {
        struct span key, bytes;
        struct attest_cbor it;
        if (member(&r, &key, &it, &bytes) != TD_OK)
            return malformed(ei, "attStmt cannot be read");
        if (!span_eq_str(key, "x5c"))
            continue;
        if (it.kind != ATTEST_CBOR_ARRAY)
            return attest_refuse(ei, "x5c-malformed", "x5c is no array");
        if (it.n == 0)
            break;
        if (it.n > max)
            return attest_refuse(ei, "x5c-malformed", "x5c holds over %zu certificates", max);
        struct rd in = rd_init(bytes);
        if (attest_cbor_next(&in, &it) != TD_OK)
            return malformed(ei, "x5c cannot be read");
        *ret_n = it.n;
        return certificates(&in, it.n, ret, ei);
    }
    return attest_refuse(ei, "attestation-missing", "the device sent no certificates (empty x5c)");
}
