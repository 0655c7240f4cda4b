#include "acme/server/contact.h"

#include "acme/server/problem.h"

#include <string.h>
#include <strings.h>

#define SCHEME "mailto:"

static enum td_err invalid(struct errinfo *ei)
{
    return acme_refuse(ei, TD_INVAL, "invalidContact", "contact-invalid",
                       "a contact is mailto: and one address, without header fields");
}

static bool plain(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f || strchr("?,<>\"\\%", *s))
            return false;
    return true;
}

/* One addr-spec and no hfields (RFC 8555 section 7.3, RFC 6068). */
static enum td_err check(const char *url, struct errinfo *ei)
{
    if (strlen(url) > ACME_CONTACT_MAX)
        return invalid(ei);
    if (strncasecmp(url, SCHEME, sizeof SCHEME - 1) != 0)
        return acme_refuse(ei, TD_UNSUPPORTED, "unsupportedContact", "contact-scheme",
                           "contacts are mailto: URLs");
    const char *address = url + sizeof SCHEME - 1, *at = strchr(address, '@');
    if (!at || at == address || !at[1] || strchr(at + 1, '@') || !plain(address))
        return invalid(ei);
    return TD_OK;
}

enum td_err acme_contact_read(const struct json *payload, struct arena *a, const char **ret,
                              struct errinfo *ei)
{
    const struct json *list = json_member(payload, "contact");
    if (!list)
        return TD_OK;
    if (json_kind(list) != JSON_K_ARRAY || json_size(list) > ACME_CONTACTS)
        return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed",
                           "contact is a list of at most %d texts", ACME_CONTACTS);
    buf_auto b;
    struct json_w w;
    buf_init(&b, ACME_CONTACTS * (ACME_CONTACT_MAX * 6 + 4));
    json_w_init(&w, &b);
    json_array(&w);
    for (size_t i = 0; i < json_size(list); i++) {
        const char *url = json_str(json_element(list, i));
        if (!url)
            return acme_refuse(ei, TD_PARSE, "malformed", "payload-malformed",
                               "a contact is no text");
        TD_TRY(check(url, ei));
        json_v_str(&w, url);
    }
    json_array_end(&w);
    *ret = b.err ? NULL : arena_dup(a, buf_view(&b));
    return *ret ? TD_OK : err_set(ei, TD_NOMEM, "contacts");
}
