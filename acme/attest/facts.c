#include "acme/attest/facts.h"

#include "mdm/wire/json.h"

#define ARC "1.2.840.113635.100.8."

/* Longer texts are no fact of Apple's. */
#define FACT_MAX 127

enum fact_kind { FACT_TEXT, FACT_FLAG };

/* One row a fact: the extension, where it goes, its name in JSON, and a flag's words for 0 and 1.
 */
static const struct fact {
    const char *oid;
    enum fact_kind kind;
    size_t offset;
    const char *name;
    const char *words[2];
} facts[] = {
#define TEXT(oid, member)                                                                          \
    {                                                                                              \
        ARC oid, FACT_TEXT, offsetof(struct attest_facts, member), #member,                        \
        {                                                                                          \
            NULL, NULL                                                                             \
        }                                                                                          \
    }
    TEXT("9.1", serial),
    TEXT("9.2", udid),
    TEXT("9.4", sw_update_id),
    TEXT("10.1", os_version),
    TEXT("10.2", sepos_version),
    TEXT("10.3", llb_version),
    TEXT("13.2", secure_boot),
#undef TEXT
    {ARC "13.1", FACT_FLAG, offsetof(struct attest_facts, sip), "sip", {"enabled", "disabled"}},
    {ARC "13.3",
     FACT_FLAG,
     offsetof(struct attest_facts, kexts),
     "kexts",
     {"not-allowed", "allowed"}},
};

struct span attest_fact_text(struct span v)
{
    if (v.n >= 2 && v.p[0] == 0x0c && v.p[1] < 0x80 && v.p[1] == v.n - 2)
        return span_sub(v, 2, v.n);
    return v;
}

/* Printable ASCII: what Apple writes; it goes into JSON and into the console. */
static bool printable(struct span s)
{
    if (s.n == 0 || s.n > FACT_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e)
            return false;
    return true;
}

/* DER INTEGER 0 or 1; anything else is unknown. */
static int flag(struct span v)
{
    if (v.n == 3 && v.p[0] == 2 && v.p[1] == 1 && v.p[2] <= 1)
        return v.p[2];
    return -1;
}

static struct span *text_at(struct attest_facts *f, const struct fact *row)
{
    return (struct span *)(void *)((char *)f + row->offset);
}

static int *flag_at(struct attest_facts *f, const struct fact *row)
{
    return (int *)(void *)((char *)f + row->offset);
}

void attest_facts_read(const struct cert *leaf, struct attest_facts *ret)
{
    *ret = (struct attest_facts){.sip = -1, .kexts = -1};
    for (size_t i = 0; i < TD_NITEMS(facts); i++) {
        struct span v = {NULL, 0};
        if (cert_ext(leaf, facts[i].oid, &v) != 1)
            continue;
        if (facts[i].kind == FACT_FLAG)
            *flag_at(ret, &facts[i]) = flag(v);
        else if (printable(attest_fact_text(v)))
            *text_at(ret, &facts[i]) = attest_fact_text(v);
    }
}

enum td_err attest_facts_json(const struct attest_facts *f, struct buf *b)
{
    struct attest_facts copy = *f;
    struct json_w w;
    json_w_init(&w, b);
    json_open(&w);
    for (size_t i = 0; i < TD_NITEMS(facts); i++) {
        if (facts[i].kind == FACT_FLAG) {
            int v = *flag_at(&copy, &facts[i]);
            json_kv_str(&w, facts[i].name, v == 0 || v == 1 ? facts[i].words[v] : NULL);
            continue;
        }
        struct span s = *text_at(&copy, &facts[i]);
        if (s.n)
            json_kv_span(&w, facts[i].name, s);
        else
            json_kv_str(&w, facts[i].name, NULL);
    }
    json_close(&w);
    return b->err;
}
