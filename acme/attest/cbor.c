#include "acme/attest/cbor.h"

#include <cbor.h>

static void on_uint8(void *p, uint8_t v)
{
    (void)v;
    *(struct attest_cbor *)p = (struct attest_cbor){.kind = ATTEST_CBOR_INT};
}

static void on_uint16(void *p, uint16_t v)
{
    (void)v;
    on_uint8(p, 0);
}

static void on_uint32(void *p, uint32_t v)
{
    (void)v;
    on_uint8(p, 0);
}

static void on_uint64(void *p, uint64_t v)
{
    (void)v;
    on_uint8(p, 0);
}

static void on_bytes(void *p, cbor_data data, size_t n)
{
    *(struct attest_cbor *)p = (struct attest_cbor){.kind = ATTEST_CBOR_BYTES, .s = {data, n}};
}

static void on_text(void *p, cbor_data data, size_t n)
{
    *(struct attest_cbor *)p = (struct attest_cbor){.kind = ATTEST_CBOR_TEXT, .s = {data, n}};
}

static void on_array(void *p, size_t n)
{
    *(struct attest_cbor *)p = (struct attest_cbor){.kind = ATTEST_CBOR_ARRAY, .n = n};
}

static void on_map(void *p, size_t n)
{
    *(struct attest_cbor *)p = (struct attest_cbor){.kind = ATTEST_CBOR_MAP, .n = n};
}

static void on_simple(void *p)
{
    *(struct attest_cbor *)p = (struct attest_cbor){.kind = ATTEST_CBOR_SIMPLE};
}

static void on_float(void *p, float v)
{
    (void)v;
    on_simple(p);
}

static void on_double(void *p, double v)
{
    (void)v;
    on_simple(p);
}

static void on_bool(void *p, bool v)
{
    (void)v;
    on_simple(p);
}

static void on_refused(void *p)
{
    *(struct attest_cbor *)p = (struct attest_cbor){.kind = ATTEST_CBOR_REFUSED};
}

static void on_tag(void *p, uint64_t v)
{
    (void)v;
    on_refused(p);
}

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_uint8,
    .negint16 = on_uint16,
    .negint32 = on_uint32,
    .negint64 = on_uint64,
    .byte_string_start = on_refused,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_refused,
    .indef_array_start = on_refused,
    .array_start = on_array,
    .indef_map_start = on_refused,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .undefined = on_simple,
    .null = on_simple,
    .boolean = on_bool,
    .indef_break = on_refused,
};

enum td_err attest_cbor_next(struct rd *r, struct attest_cbor *ret)
{
    size_t left = rd_left(r);
    if (!left)
        return TD_PARSE;
    *ret = (struct attest_cbor){.kind = ATTEST_CBOR_REFUSED};
    struct cbor_decoder_result res = cbor_stream_decode(r->p, left, &callbacks, ret);
    if (res.status != CBOR_DECODER_FINISHED || res.read == 0 || ret->kind == ATTEST_CBOR_REFUSED)
        return TD_PARSE;
    (void)rd_span(r, res.read);
    return r->bad ? TD_PARSE : TD_OK;
}

enum td_err attest_cbor_skip(struct rd *r, struct span *ret)
{
    const uint8_t *start = r->p;
    /* The guard bounded every count by the bytes of the input: the sum does not overflow. */
    for (size_t todo = 1; todo > 0; todo--) {
        struct attest_cbor it;
        TD_TRY(attest_cbor_next(r, &it));
        if (it.kind == ATTEST_CBOR_ARRAY)
            todo += it.n;
        else if (it.kind == ATTEST_CBOR_MAP)
            todo += 2 * it.n;
    }
    if (ret)
        *ret = span_of(start, (size_t)(r->p - start));
    return TD_OK;
}
