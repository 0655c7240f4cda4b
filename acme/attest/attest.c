#include "acme/attest/attest.h"

#include "acme/attest/apple.h"
#include "acme/attest/attobj.h"
#include "acme/attest/facts.h"
#include "acme/attest/refuse.h"
#include "mdm/base/limits.h"
#include "mdm/base/str.h"

typedef enum td_err (*format_fn)(const struct attest_roots *roots, struct span att_stmt,
                                 const struct attest_expect *want, struct arena *a,
                                 struct attest_result *ret, struct errinfo *ei);

/* The switchboard: a format without a verifier is known, and off. */
static const struct format {
    const char *name;
    format_fn verify;
} formats[] = {
    {"apple", attest_apple},
    {"step", NULL},
    {"tpm", NULL},
    {"android-key", NULL},
};

static const struct format *format_find(struct span name)
{
    for (size_t i = 0; i < TD_NITEMS(formats); i++)
        if (span_eq_str(name, formats[i].name))
            return &formats[i];
    return NULL;
}

bool attest_format_enabled(struct span fmt, bool *ret_known)
{
    const struct format *f = format_find(fmt);
    if (ret_known)
        *ret_known = f != NULL;
    return f && f->verify;
}

static unsigned bit(const struct format *f)
{
    return 1u << (f - formats);
}

enum td_err attest_formats_parse(const char *list, unsigned *ret_off, struct errinfo *ei)
{
    unsigned off = (1u << TD_NITEMS(formats)) - 1;
    struct span rest = span_str(list);
    while (rest.n > 0) {
        struct span name = str_cut(&rest, ' ');
        const struct format *f = format_find(name);
        if (name.n == 0)
            continue;
        if (!f)
            return err_set(ei, TD_INVAL, "no attestation format '%.*s'",
                           name.n < 40 ? (int)name.n : 40, (const char *)name.p);
        if (!f->verify)
            return err_set(ei, TD_INVAL, "this version cannot verify the attestation format '%s'",
                           f->name);
        off &= ~bit(f);
    }
    *ret_off = off;
    return TD_OK;
}

static enum td_err begin(const struct attest_expect *want, struct attest_result *ret,
                         struct errinfo *ei)
{
    *ret = (struct attest_result){.facts = {.sip = -1, .kexts = -1}};
    if (!want->freshness.n || !want->serial || !want->serial[0])
        return err_set(ei, TD_INVAL, "an attestation is verified against a serial and freshness");
    return TD_OK;
}

enum td_err attest_verify_chain(const struct attest_roots *roots, const struct span *x5c, size_t n,
                                const struct attest_expect *want, struct arena *a,
                                struct attest_result *ret, struct errinfo *ei)
{
    TD_TRY(begin(want, ret, ei));
    if (want->formats_off & bit(format_find(SPAN_LIT("apple"))))
        return attest_refuse(ei, "format-not-enabled", "Apple's attestation is not enabled");
    if (n)
        digest_sha256(x5c[0], ret->sha256);
    return attest_apple_chain(roots, x5c, n, want, a, ret, ei);
}

enum td_err attest_verify(const struct attest_roots *roots, struct span att_obj,
                          const struct attest_expect *want, struct arena *a,
                          struct attest_result *ret, struct errinfo *ei)
{
    TD_TRY(begin(want, ret, ei));
    if (att_obj.n > LIMIT_ATTOBJ)
        return attest_refuse(ei, "cbor-malformed", "the attestation object has over %d bytes",
                             LIMIT_ATTOBJ);
    digest_sha256(att_obj, ret->sha256);
    struct attobj o;
    TD_TRY(attobj_parse(att_obj, &o, ei));
    const struct format *f = format_find(o.fmt);
    if (!f)
        return attest_refuse(ei, "format-not-enabled", "the attestation format is unknown");
    if (!f->verify || (want->formats_off & bit(f)))
        return attest_refuse(ei, "format-not-enabled", "the attestation format %s is not enabled",
                             f->name);
    return f->verify(roots, o.att_stmt, want, a, ret, ei);
}

void attest_result_free(struct attest_result *r)
{
    if (!r)
        return;
    cert_free(r->leaf);
    r->leaf = NULL;
}
