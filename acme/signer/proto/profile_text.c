#include "acme/signer/proto/profile_text.h"

#include "mdm/base/buf.h"
#include "mdm/base/utf8.h"

#define TEXT_CHARS 64 /* ub-common-name, ub-organizational-unit-name */
#define HOST_MAX 253
#define URI_MAX 512

static bool alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool text_char(uint32_t cp)
{
    return cp >= 0x20 && !(cp >= 0x7f && cp < 0xa0);
}

static bool id_char(uint32_t cp)
{
    return text_char(cp) && cp != '/';
}

static bool dns_char(uint32_t cp)
{
    return cp < 0x80 && (alnum((uint8_t)cp) || cp == '-' || cp == '.');
}

static bool email_char(uint32_t cp)
{
    return cp > ' ' && cp < 0x7f && (alnum((uint8_t)cp) || strchr("!#$%&'*+-/=?^_`|~.@", (int)cp));
}

static bool uri_char(uint32_t cp)
{
    return cp > ' ' && cp < 0x7f && !strchr("\"<>\\^`{|}", (int)cp);
}

/* unreserved, RFC 3986 section 2.3 without '~', which SPIFFE does not have */
static bool plain_char(uint32_t cp)
{
    return cp < 0x80 && (alnum((uint8_t)cp) || cp == '-' || cp == '.' || cp == '_');
}

static const struct field {
    const char *name;
    bool (*fits)(uint32_t cp);
    size_t chars, bytes; /* most of either */
} fields[] = {
    [PROFILE_CN] = {"cn", text_char, TEXT_CHARS, 4 * TEXT_CHARS},
    [PROFILE_OU] = {"ou", text_char, TEXT_CHARS, 4 * TEXT_CHARS},
    [PROFILE_ID] = {"permanent_identifier", id_char, 256, 256},
    [PROFILE_DNS] = {"dns", dns_char, HOST_MAX, HOST_MAX},
    [PROFILE_EMAIL] = {"email", email_char, 254, 254},
    [PROFILE_URI] = {"uri", uri_char, URI_MAX, URI_MAX},
};
_Static_assert(TD_NITEMS(fields) == PROFILE_FIELDS, "a row for each field");

const char *profile_text_field(enum profile_field f)
{
    return fields[f].name;
}

static bool all_fit(struct span s, bool (*fits)(uint32_t))
{
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t n = utf8_next(s, i, &cp);
        if (n == 0 || !fits(cp))
            return false;
        i += n;
    }
    return true;
}

static size_t count(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += (s.p[i] & 0xc0) != 0x80;
    return n;
}

/* A piece of a template: literal text, or the fact between braces. */
struct piece {
    struct span text;
    bool fact;
};

/* The next piece; false at the end or when a brace has no partner (*ret_bad). */
static bool next_piece(struct span *rest, struct piece *ret, bool *ret_bad)
{
    *ret_bad = false;
    if (rest->n == 0)
        return false;
    size_t n = 0;
    bool fact = rest->p[0] == '{';
    for (n = fact; n < rest->n && rest->p[n] != '{' && rest->p[n] != '}'; n++)
        continue;
    bool closed = n < rest->n && rest->p[n] == '}';
    if (fact != closed) {
        *ret_bad = true;
        return false;
    }
    *ret = (struct piece){span_sub(*rest, fact, n - fact), fact};
    *rest = span_sub(*rest, n + fact, rest->n);
    return true;
}

static bool is_spiffe(const char *text)
{
    return span_starts(span_str(text), SPAN_LIT("spiffe://"));
}

enum td_err profile_text_check(enum profile_field f, const char *text, bool numbered,
                               struct errinfo *ei)
{
    struct span rest = span_str(text);
    struct piece p;
    bool bad;
    while (next_piece(&rest, &p, &bad)) {
        enum profile_fact_id id = p.fact ? profile_fact_find(p.text) : FACT_MAX;
        if (p.fact && id == FACT_MAX)
            return err_set(ei, TD_INVAL, "%s: no fact is called {%.*s}", fields[f].name,
                           (int)p.text.n, (const char *)p.text.p);
        if (!numbered && (id == FACT_SERIAL || id == FACT_UDID))
            return err_set(ei, TD_INVAL, "%s names {%s}, and serial = no forbids it",
                           fields[f].name, profile_fact_name(id));
        if (!p.fact && !all_fit(p.text, fields[f].fits))
            return err_set(ei, TD_INVAL, "%s: a character that cannot stand there", fields[f].name);
    }
    if (bad)
        return err_set(ei, TD_INVAL, "%s: a brace without its partner", fields[f].name);
    return TD_OK;
}

static enum td_err unfit(struct errinfo *ei, enum profile_field f, const char *fact)
{
    return err_reason(ei, TD_FORBIDDEN, "fact-unfit",
                      "the device's %s cannot stand in the certificate's %s", fact, fields[f].name);
}

static void put_percent(struct buf *b, uint8_t c)
{
    static const char hex[] = "0123456789ABCDEF";
    buf_u8(b, '%');
    buf_u8(b, (uint8_t)hex[c >> 4]);
    buf_u8(b, (uint8_t)hex[c & 15]);
}

static void put_value(struct buf *b, enum profile_field f, struct span v)
{
    for (size_t i = 0; i < v.n; i++) {
        uint8_t c = v.p[i];
        if (f == PROFILE_URI && !plain_char(c))
            put_percent(b, c);
        else
            buf_u8(b, f == PROFILE_DNS && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c);
    }
}

static bool value_fits(enum profile_field f, bool spiffe, struct span v)
{
    if (f == PROFILE_URI)
        return all_fit(v, spiffe ? plain_char : text_char);
    return all_fit(v, fields[f].fits);
}

enum td_err profile_text_expand(enum profile_field f, const char *text,
                                const struct profile_facts *facts, struct arena *a,
                                const char **ret, struct errinfo *ei)
{
    struct span rest = span_str(text);
    struct piece p;
    bool bad;
    *ret = NULL;
    if (rest.n == 0)
        return TD_OK;
    buf_auto b;
    buf_init(&b, 4 * PROFILE_FACT_VALUE_MAX + URI_MAX);
    const char *last = "template";
    while (next_piece(&rest, &p, &bad)) {
        enum profile_fact_id id = p.fact ? profile_fact_find(p.text) : FACT_MAX;
        if (id == FACT_MAX) {
            buf_span(&b, p.text);
            continue;
        }
        last = profile_fact_name(id);
        struct span v = facts->of[id].value;
        if (v.n == 0)
            return err_reason(ei, TD_FORBIDDEN, "fact-missing",
                              "the certificate's %s needs {%s}, which this device lacks",
                              fields[f].name, last);
        if (!value_fits(f, is_spiffe(text), v))
            return unfit(ei, f, last);
        put_value(&b, f, v);
    }
    struct span s = buf_view(&b);
    if (b.err != TD_OK || s.n > fields[f].bytes || count(s) > fields[f].chars)
        return err_reason(ei, TD_FORBIDDEN, "fact-unfit", "the certificate's %s would be too long",
                          fields[f].name);
    *ret = arena_dup(a, s);
    return *ret ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}
