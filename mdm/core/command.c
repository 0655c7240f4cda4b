#include "mdm/core/command.h"

#include "mdm/base/b64.h"
#include "mdm/base/limits.h"

enum {
    QUERIES_MAX = 256, /* Apple's table has 93 */
    QUERY_MAX = 128,   /* bytes of one query's name */
    NONCE_MAX = 32,    /* DeviceAttestationNonce, Apple: at most 32 bytes */
    IDENTIFIER_MAX = 255,
    TYPE_MAX = 64
};

typedef enum td_err (*build_fn)(const struct json *body, struct arena *a, struct plist *cmd,
                                struct errinfo *ei);

static enum td_err queries(const struct json *body, struct plist *cmd, struct errinfo *ei)
{
    const struct json *list = json_member(body, "queries");
    size_t n = json_size(list);
    if (!list || json_kind(list) != JSON_K_ARRAY || n < 1 || n > QUERIES_MAX)
        return err_set(ei, TD_INVAL, "queries: an array of 1 to %d names", QUERIES_MAX);
    struct plist *out = plist_add_array(cmd, "Queries");
    if (!out)
        return TD_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *name = json_str(json_element(list, i));
        if (!name || !*name || strlen(name) > QUERY_MAX)
            return err_set(ei, TD_INVAL, "queries[%zu]: a name of 1 to %d bytes", i, QUERY_MAX);
        TD_TRY(plist_push_str(out, name));
    }
    return TD_OK;
}

/* The nonce goes out as <data>: a <string> silently yields no attestation (MB-42). */
static enum td_err device_information(const struct json *body, struct arena *a, struct plist *cmd,
                                      struct errinfo *ei)
{
    TD_TRY(queries(body, cmd, ei));
    const char *text = NULL;
    enum td_err e = json_get_str(body, "device_attestation_nonce", &text);
    if (e == TD_NOTFOUND)
        return TD_OK;
    struct span nonce;
    if (e != TD_OK || b64_dec(a, span_str(text), &nonce) != TD_OK || nonce.n < 1 ||
        nonce.n > NONCE_MAX)
        return err_set(ei, TD_INVAL, "device_attestation_nonce: base64 of 1 to %d bytes",
                       NONCE_MAX);
    return plist_set_data(cmd, "DeviceAttestationNonce", nonce);
}

static enum td_err no_members(const struct json *body, struct arena *a, struct plist *cmd,
                              struct errinfo *ei)
{
    (void)body, (void)a, (void)cmd, (void)ei;
    return TD_OK;
}

static enum td_err managed_only(const struct json *body, struct arena *a, struct plist *cmd,
                                struct errinfo *ei)
{
    (void)a;
    bool managed = false;
    enum td_err e = json_get_bool(body, "managed_only", &managed);
    if (e == TD_NOTFOUND)
        return TD_OK;
    if (e != TD_OK)
        return err_set(ei, TD_INVAL, "managed_only: true or false");
    return plist_set_bool(cmd, "ManagedOnly", managed);
}

/* XML or binary plist, or a DER SignedData. */
static bool profile_shaped(struct span p)
{
    return span_starts(p, SPAN_LIT("<?xml")) || span_starts(p, SPAN_LIT("bplist00")) ||
           span_starts(p, SPAN_LIT("\x30"));
}

static enum td_err install_profile(const struct json *body, struct arena *a, struct plist *cmd,
                                   struct errinfo *ei)
{
    const char *text = NULL;
    struct span payload;
    if (json_get_str(body, "payload", &text) != TD_OK)
        return err_set(ei, TD_INVAL, "payload: the profile, base64");
    enum td_err e = b64_dec(a, span_str(text), &payload);
    if (e == TD_NOMEM)
        return e;
    if (e != TD_OK || !profile_shaped(payload))
        return err_set(ei, TD_INVAL, "payload: base64 of an XML, binary or signed profile");
    if (payload.n > LIMIT_BODY_PROFILE)
        return err_set(ei, TD_LIMIT, "payload: over %d bytes", LIMIT_BODY_PROFILE);
    return plist_set_data(cmd, "Payload", payload);
}

static enum td_err remove_profile(const struct json *body, struct arena *a, struct plist *cmd,
                                  struct errinfo *ei)
{
    (void)a;
    const char *id = NULL;
    if (json_get_str(body, "identifier", &id) != TD_OK || !*id || strlen(id) > IDENTIFIER_MAX)
        return err_set(ei, TD_INVAL, "identifier: the profile's PayloadIdentifier");
    return plist_set_str(cmd, "Identifier", id);
}

static const struct {
    const char *type;
    build_fn build;
    const char *members[4]; /* NULL-terminated */
} commands[] = {
    {"CertificateList", managed_only, {"request_type", "managed_only"}},
    {"DeviceInformation",
     device_information,
     {"request_type", "queries", "device_attestation_nonce"}},
    {"InstallProfile", install_profile, {"request_type", "payload"}},
    {"ProfileList", managed_only, {"request_type", "managed_only"}},
    {"RemoveProfile", remove_profile, {"request_type", "identifier"}},
    {"SecurityInfo", no_members, {"request_type"}},
};

enum td_err command_from_json(const struct json *body, struct arena *a, struct plist **ret,
                              struct errinfo *ei)
{
    const char *type = NULL;
    if (json_get_str(body, "request_type", &type) != TD_OK || !*type)
        return err_set(ei, TD_INVAL, "request_type: the name of the command");
    for (size_t i = 0; i < TD_NITEMS(commands); i++) {
        if (strcmp(commands[i].type, type) != 0)
            continue;
        TD_TRY(json_only(body, commands[i].members, ei));
        struct plist *cmd = plist_new_dict(a);
        if (!cmd)
            return TD_NOMEM;
        TD_TRY(plist_set_str(cmd, "RequestType", type));
        TD_TRY(commands[i].build(body, a, cmd, ei));
        *ret = cmd;
        return TD_OK;
    }
    return err_set(ei, TD_UNSUPPORTED, "request_type: no typed form; send it as a raw plist");
}

enum td_err command_from_plist(struct span body, struct arena *a, struct plist **ret,
                               const char **ret_uuid, struct errinfo *ei)
{
    struct plist *root = NULL;
    TD_TRY(plist_parse(body, a, &root, ei));
    if (plist_type(root) != PLIST_T_DICT)
        return err_set(ei, TD_PARSE, "the command is not a dictionary");
    struct plist *inner = plist_get(root, "Command");
    struct plist *cmd = inner ? inner : root;
    const char *uuid = NULL, *type = NULL;
    if (inner) {
        enum td_err e = plist_str(root, "CommandUUID", a, &uuid);
        if (e != TD_OK && e != TD_NOTFOUND)
            return err_set(ei, e, "CommandUUID is not a string");
    }
    enum td_err e = plist_str(cmd, "RequestType", a, &type);
    if (e == TD_NOMEM)
        return e;
    if (e != TD_OK || !*type || strlen(type) > TYPE_MAX)
        return err_set(ei, TD_PARSE, "Command.RequestType: a string of 1 to %d bytes", TYPE_MAX);
    *ret = cmd;
    *ret_uuid = uuid;
    return TD_OK;
}

enum td_err command_xml(const struct plist *command, const char *uuid, struct arena *a,
                        struct buf *ret, struct errinfo *ei)
{
    struct plist *root = plist_new_dict(a);
    if (!root)
        return err_set(ei, TD_NOMEM, "no memory for the command");
    TD_TRY(plist_set_copy(root, "Command", command));
    TD_TRY(plist_set_str(root, "CommandUUID", uuid));
    return plist_xml(root, ret);
}
