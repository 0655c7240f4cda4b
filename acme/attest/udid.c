#include "acme/attest/udid.h"

#include "mdm/base/str.h"
#include "mdm/base/uuid.h"

static bool has(const struct json *facts, const char *name)
{
    const char *s = json_str(json_member(facts, name));
    return s && *s;
}

static bool mac(const struct json *facts, struct span udid)
{
    if (has(facts, "sip") || has(facts, "secure_boot") || has(facts, "kexts"))
        return true;
    return !has(facts, "sw_update_id") && uuid_valid(udid);
}

bool attest_udid_agrees(const struct json *facts, struct span udid)
{
    const char *attested = json_str(json_member(facts, "udid"));
    return !attested || !*attested || str_ieq(span_str(attested), udid) || mac(facts, udid);
}
