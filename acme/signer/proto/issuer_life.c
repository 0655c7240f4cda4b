#include "acme/signer/proto/issuer_life.h"

#include "mdm/base/clock.h"
#include "mdm/base/hex.h"

enum td_err issuer_life(const struct cert *issuing, int64_t now, struct errinfo *ei)
{
    uint8_t id[CERT_SKI_SIZE] = {0};
    char hex[2 * CERT_SKI_SIZE + 1], at[CLOCK_TEXT_SIZE];
    bool over = cert_not_after(issuing) <= now;
    if (!over && cert_not_before(issuing) <= now)
        return TD_OK;
    (void)cert_ski(issuing, id);
    hex_enc(SPAN_ARR(id), hex);
    clock_text(over ? cert_not_after(issuing) : cert_not_before(issuing), at);
    if (over)
        return err_reason(ei, TD_INVAL, "issuer-expired",
                          "the issuing CA %s expired %s: testudo ca rotate", hex, at);
    return err_reason(ei, TD_INVAL, "issuer-early",
                      "the issuing CA %s begins %s: is the clock right?", hex, at);
}
