/* room: posture */
/* A report of a device: what is said is of the table, each fact once, in its kind's one form. */
#include "mdm/posture/fact.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct posture_obs *obs, size_t n)
{
    char form[POSTURE_VALUE_MAX + 1];
    if (n > POSTURE_FACTS_MAX)
        abort();
    for (size_t i = 0; i < n; i++) {
        const struct posture_fact *f = posture_fact_find(span_str(obs[i].name));
        if (!f || (i > 0 && strcmp(obs[i - 1].name, obs[i].name) >= 0))
            abort();
        if (!posture_value(f, span_str(obs[i].value), form) || strcmp(form, obs[i].value) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"SecurityInfo", "DeviceInformation"};
    arena_auto a;
    struct plist *p = NULL;
    struct json *j = NULL;
    struct posture_obs obs[POSTURE_FACTS_MAX];
    size_t n = 0;
    arena_init(&a, 64 << 20);
    if (json_parse(span_of(data, size), &a, &j, NULL) == TD_OK &&
        posture_facts_evidence(j, 1, &a, obs, &n) == TD_OK)
        judge(obs, n);
    if (plist_parse(span_of(data, size), &a, &p, NULL) != TD_OK)
        return 0;
    for (size_t i = 0; i < TD_NITEMS(types); i++)
        if (posture_facts_report(types[i], p, 1, &a, obs, &n) == TD_OK)
            judge(obs, n);
    return 0;
}
