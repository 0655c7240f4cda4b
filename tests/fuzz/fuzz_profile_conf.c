/* room: ca */
/* A certificate profile's file: what is accepted shows itself, and what is shown is accepted and
 * shows the same; templates expand within the bounds of their field. */
#include <stdlib.h>

#include "acme/signer/proto/profile_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Facts that are easy, and facts that are not. */
static void expand(const struct profile_conf *p, struct arena *a)
{
    static const char *const values[] = {"C02ABC", "O'Neil <x@y> \xc3\xa9/..", "a b"};
    for (size_t v = 0; v < TD_NITEMS(values); v++) {
        struct profile_facts f = {0};
        for (unsigned i = 0; i < FACT_MAX; i++)
            profile_fact_set(&f, (enum profile_fact_id)i, span_str(values[v]), FACT_FROM_EVIDENCE);
        for (unsigned i = 0; i < PROFILE_FIELDS; i++) {
            const char *out = NULL;
            if (profile_text_expand((enum profile_field)i, p->text[i], &f, a, &out, NULL) ==
                    TD_OK &&
                out && strlen(out) > 512)
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct profile_conf p, q;
    struct errinfo ei = {0};
    arena_auto a;
    buf_auto one, two;
    arena_init(&a, 1 << 20);
    buf_init(&one, 1 << 17);
    buf_init(&two, 1 << 17);
    if (profile_conf_parse("wifi", span_of(data, size), &a, &p, &ei) != TD_OK) {
        if (ei.msg[0] == 0)
            abort();
        return 0;
    }
    expand(&p, &a);
    if (profile_conf_show(&p, &one) != TD_OK)
        abort();
    if (profile_conf_parse("wifi", buf_view(&one), &a, &q, &ei) != TD_OK)
        return strstr(ei.msg, "too long") ? 0 : (abort(), 0); /* as in fuzz_conf */
    if (profile_conf_show(&q, &two) != TD_OK || !span_eq(buf_view(&one), buf_view(&two)))
        abort();
    return 0;
}
