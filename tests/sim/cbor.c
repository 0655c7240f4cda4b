#include "tests/sim/cbor.h"

enum td_err cbor_head(struct buf *b, unsigned major, uint64_t arg)
{
    uint8_t m = (uint8_t)(major << 5);
    if (arg < 24)
        return buf_u8(b, (uint8_t)(m | arg));
    if (arg <= UINT8_MAX) {
        TD_TRY(buf_u8(b, m | 24));
        return buf_u8(b, (uint8_t)arg);
    }
    if (arg <= UINT16_MAX) {
        TD_TRY(buf_u8(b, m | 25));
        return buf_u16(b, (uint16_t)arg);
    }
    if (arg <= UINT32_MAX) {
        TD_TRY(buf_u8(b, m | 26));
        return buf_u32(b, (uint32_t)arg);
    }
    TD_TRY(buf_u8(b, m | 27));
    return buf_u64(b, arg);
}

static enum td_err text(struct buf *b, const char *s)
{
    TD_TRY(cbor_head(b, 3, strlen(s)));
    return buf_str(b, s);
}

enum td_err cbor_attobj(struct buf *b, const struct span *certs, size_t n)
{
    TD_TRY(cbor_head(b, 5, 2));
    TD_TRY(text(b, "fmt"));
    TD_TRY(text(b, "apple"));
    TD_TRY(text(b, "attStmt"));
    TD_TRY(cbor_head(b, 5, 1));
    TD_TRY(text(b, "x5c"));
    TD_TRY(cbor_head(b, 4, n));
    for (size_t i = 0; i < n; i++) {
        TD_TRY(cbor_head(b, 2, certs[i].n));
        TD_TRY(buf_span(b, certs[i]));
    }
    return TD_OK;
}
