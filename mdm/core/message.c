#include "mdm/core/message.h"

#include "mdm/base/utf8.h"
#include "mdm/wire/plist.h"

bool core_id_valid(const char *id)
{
    size_t n = strlen(id);
    if (n < 1 || n > CORE_ID_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = id[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              c == '-'))
            return false;
    }
    return true;
}

/* Cuts UTF-8 text to at most `max` bytes at the border of a character. */
static const char *cut(struct arena *a, const char *s, size_t max)
{
    size_t n = strlen(s);
    if (n <= max)
        return s;
    n = max;
    while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    return arena_dup(a, span_of(s, n));
}

/* An optional member that only describes: any fault in it reads as "not said". */
static enum td_err describe(const struct plist *d, const char *key, struct arena *a,
                            const char **ret)
{
    const char *s = "";
    enum td_err e = plist_str(d, key, a, &s);
    if (e == TD_NOMEM)
        return e;
    *ret = utf8_valid(span_str(s)) ? cut(a, s, CORE_TEXT_MAX) : "";
    return *ret ? TD_OK : TD_NOMEM;
}

/* An optional member that counts: absent is fine, another type is not. */
static enum td_err text(const struct plist *d, const char *key, size_t max, struct arena *a,
                        const char **ret, struct errinfo *ei)
{
    enum td_err e = plist_str(d, key, a, ret);
    if (e == TD_NOTFOUND)
        return TD_OK;
    if (e == TD_PARSE)
        return err_reason(ei, TD_PARSE, "message-malformed", "%s is not a string", key);
    if (e == TD_OK && (!**ret || strlen(*ret) > max || !utf8_valid(span_str(*ret))))
        return err_reason(ei, TD_PARSE, "message-malformed", "%s: empty, too long or no text", key);
    return e;
}

static enum td_err bytes(const struct plist *d, const char *key, size_t max, struct arena *a,
                         struct span *ret, struct errinfo *ei)
{
    enum td_err e = plist_data(d, key, a, ret);
    if (e == TD_NOTFOUND)
        return TD_OK;
    if (e == TD_PARSE)
        return err_reason(ei, TD_PARSE, "message-malformed", "%s is not data", key);
    if (e == TD_OK && ret->n > max)
        return err_reason(ei, TD_PARSE, "message-malformed", "%s is too long", key);
    return e;
}

static enum td_err ident(const struct plist *d, struct arena *a, const char **udid,
                         const char **enrollment_id, struct errinfo *ei)
{
    TD_TRY(text(d, "UDID", CORE_ID_MAX, a, udid, ei));
    TD_TRY(text(d, "EnrollmentID", CORE_ID_MAX, a, enrollment_id, ei));
    if ((*udid && !core_id_valid(*udid)) || (*enrollment_id && !core_id_valid(*enrollment_id)))
        return err_reason(ei, TD_PARSE, "message-malformed", "UDID has a strange form");
    return TD_OK;
}

static bool user_channel(const struct plist *d)
{
    return plist_get(d, "UserID") || plist_get(d, "EnrollmentUserID");
}

/* The members that only describe the device. macOS has Model, iOS may have ModelName alone. */
static enum td_err descriptions(const struct plist *d, struct arena *a, struct core_msg *m)
{
    TD_TRY(describe(d, "DeviceName", a, &m->device_name));
    TD_TRY(describe(d, "Model", a, &m->model));
    if (!*m->model)
        TD_TRY(describe(d, "ModelName", a, &m->model));
    TD_TRY(describe(d, "ProductName", a, &m->product));
    TD_TRY(describe(d, "OSVersion", a, &m->os_version));
    return describe(d, "BuildVersion", a, &m->build);
}

enum td_err core_msg_parse(struct span body, struct arena *a, struct core_msg *ret,
                           struct errinfo *ei)
{
    struct core_msg m = {.awaiting = -1};
    struct plist *d = NULL;
    TD_TRY(plist_parse(body, a, &d, ei));
    if (plist_type(d) != PLIST_T_DICT)
        return err_reason(ei, TD_PARSE, "message-malformed", "the message is not a dictionary");
    TD_TRY(text(d, "MessageType", CORE_ID_MAX, a, &m.type, ei));
    if (!m.type)
        return err_reason(ei, TD_PARSE, "message-malformed", "MessageType is missing");
    m.user_channel = user_channel(d);
    TD_TRY(ident(d, a, &m.udid, &m.enrollment_id, ei));
    TD_TRY(text(d, "Topic", CORE_TEXT_MAX, a, &m.topic, ei));
    TD_TRY(text(d, "SerialNumber", CORE_TEXT_MAX, a, &m.serial, ei));
    TD_TRY(text(d, "PushMagic", CORE_TEXT_MAX, a, &m.push_magic, ei));
    TD_TRY(bytes(d, "Token", CORE_TOKEN_MAX, a, &m.token, ei));
    TD_TRY(bytes(d, "UnlockToken", body.n, a, &m.unlock_token, ei));
    TD_TRY(bytes(d, "BootstrapToken", body.n, a, &m.bootstrap_token, ei));
    TD_TRY(descriptions(d, a, &m));
    bool awaiting = false;
    enum td_err e = plist_bool(d, "AwaitingConfiguration", &awaiting);
    if (e == TD_OK)
        m.awaiting = awaiting;
    else if (e != TD_NOTFOUND)
        return err_reason(ei, TD_PARSE, "message-malformed", "AwaitingConfiguration: no boolean");
    *ret = m;
    return TD_OK;
}

static bool salvage_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool salvage_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '_' || c == '.';
}

/* The text of <key>NAME</key> <string>TEXT</string> in bytes that are no property list: what the
 * parser would have found. TEXT is 1..max characters of a closed set. NULL when not found. */
static const char *salvage(struct span body, const char *key, size_t max, struct arena *a)
{
    struct span open = SPAN_LIT("<string>");
    const uint8_t *at = body.n ? memmem(body.p, body.n, key, strlen(key)) : NULL;
    if (!at)
        return NULL;
    struct span rest = span_sub(body, (size_t)(at - body.p) + strlen(key), body.n);
    size_t n = 0;
    while (n < rest.n && salvage_space(rest.p[n]))
        n++;
    rest = span_sub(rest, n, rest.n);
    if (!span_starts(rest, open))
        return NULL;
    rest = span_sub(rest, open.n, rest.n);
    for (n = 0; n < rest.n && n <= max && salvage_char(rest.p[n]);)
        n++;
    if (n < 1 || n > max || n >= rest.n || rest.p[n] != '<')
        return NULL;
    return arena_dup(a, span_of(rest.p, n));
}

static enum td_err report_salvage(struct span body, struct arena *a, struct core_report *r,
                                  struct errinfo *ei)
{
    r->status = salvage(body, "<key>Status</key>", CORE_STATUS_MAX, a);
    r->uuid = salvage(body, "<key>CommandUUID</key>", CORE_ID_MAX, a);
    if (!r->status && !r->uuid)
        return err_reason(ei, TD_PARSE, "report-malformed",
                          "neither Status nor CommandUUID can be made out");
    if (!r->status)
        r->status = "";
    return TD_OK;
}

static enum td_err report_read(const struct plist *d, struct arena *a, struct core_report *r,
                               struct errinfo *ei)
{
    const char *udid = NULL, *enrollment_id = NULL;
    TD_TRY(describe(d, "Status", a, &r->status));
    r->status = cut(a, r->status, CORE_STATUS_MAX);
    if (!r->status)
        return TD_NOMEM;
    TD_TRY(describe(d, "CommandUUID", a, &r->uuid));
    if (!*r->uuid)
        r->uuid = NULL;
    if (!*r->status && !r->uuid)
        return err_reason(ei, TD_PARSE, "report-malformed",
                          "the report has neither Status nor CommandUUID");
    TD_TRY(ident(d, a, &udid, &enrollment_id, ei));
    r->udid = udid ? udid : enrollment_id;
    r->user_channel = user_channel(d);
    r->decoded = true;
    r->body = d;
    return TD_OK;
}

enum td_err core_report_parse(struct span body, struct arena *a, struct core_report *ret,
                              struct errinfo *ei)
{
    struct core_report r = {.status = ""};
    struct plist *d = NULL;
    enum td_err e = plist_parse(body, a, &d, ei);
    if (e == TD_NOMEM)
        return e;
    if (e == TD_OK && plist_type(d) == PLIST_T_DICT)
        TD_TRY(report_read(d, a, &r, ei));
    else
        TD_TRY(report_salvage(body, a, &r, ei));
    *ret = r;
    return TD_OK;
}
