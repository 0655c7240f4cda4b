#include "acme/signer/proto/profile_fact.h"

#include "mdm/base/err.h"

static const char *const names[] = {
    [FACT_SERIAL] = "serial",
    [FACT_UDID] = "udid",
    [FACT_MODEL] = "model",
    [FACT_OS_VERSION] = "os_version",
    [FACT_SEPOS_VERSION] = "sepos_version",
    [FACT_LLB_VERSION] = "llb_version",
    [FACT_SIP] = "sip",
    [FACT_SECURE_BOOT] = "secure_boot",
    [FACT_KEXTS] = "kexts",
    [FACT_OWNER] = "owner",
    [FACT_NAME] = "name",
    [FACT_GROUPS] = "groups",
};
_Static_assert(TD_NITEMS(names) == FACT_MAX, "a name for each fact");

const char *profile_fact_name(enum profile_fact_id id)
{
    return names[id];
}

enum profile_fact_id profile_fact_find(struct span name)
{
    unsigned i = 0;
    while (i < FACT_MAX && !span_eq_str(name, names[i]))
        i++;
    return (enum profile_fact_id)i;
}

void profile_fact_set(struct profile_facts *f, enum profile_fact_id id, struct span value,
                      enum profile_fact_source source)
{
    if (value.n)
        f->of[id] = (struct profile_fact){value, source};
}
