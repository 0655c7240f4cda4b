/* /api/v1/profiles: what each certificate profile puts into a certificate, and who may have one. */
#include <stdio.h>

#include "web/api/api_int.h"
#include "web/api/api_util.h"

static void write_words(struct json_w *w, const char *key, const char *words)
{
    struct span rest = span_str(words), one;
    json_array_key(w, key);
    while ((one = inv_groups_next(&rest)).n > 0) {
        char text[INV_GROUPS_TEXT];
        snprintf(text, sizeof text, "%.*s", (int)one.n, (const char *)one.p);
        json_v_str(w, text);
    }
    json_array_end(w);
}

/* "ios=17.4 macos=14.6" as an object. */
static void write_min_os(struct json_w *w, const char *words)
{
    struct span rest = span_str(words), one;
    json_open_key(w, "min_os");
    while ((one = inv_groups_next(&rest)).n > 0) {
        char key[CA_POLICY_TEXT];
        int n = snprintf(key, sizeof key, "%.*s", (int)one.n, (const char *)one.p);
        char *eq = n > 0 ? strchr(key, '=') : NULL;
        if (!eq)
            continue;
        *eq = 0;
        json_kv_str(w, key, eq + 1);
    }
    json_close(w);
}

static void write_policy(struct json_w *w, const struct ca_policy *p)
{
    json_kv_bool(w, "enabled", p->enabled);
    json_kv_bool(w, "eab_required", p->eab_required);
    write_words(w, "groups", p->groups);
    write_words(w, "platforms", p->platforms);
    write_min_os(w, p->min_os);
    json_kv_int(w, "rev", p->rev);
    json_kv_time(w, "updated_at", p->updated_at);
}

struct view {
    struct json_w *w;
    const struct api *api;
    struct arena *a;
    int64_t rev;
};

static void write_profile(void *ctx, const struct profile_conf *c, const struct ca_policy *p)
{
    struct view *v = ctx;
    struct json_w *w = v->w;
    v->rev = p->rev;
    json_open(w);
    json_kv_str(w, "name", c->name);
    json_kv_str(w, "purpose", c->purpose);
    json_kv_str(w, "directory",
                arena_printf(v->a, "%s/acme/%s/directory", v->api->public_url, c->name));
    json_kv_bool(w, "built_in", c->built_in);
    json_kv_int(w, "lifetime", c->life);
    json_kv_int(w, "renew_at_percent", c->renew);
    json_kv_bool(w, "attestation", c->attestation);
    write_words(w, "keys", c->keys);
    json_kv_bool(w, "serial_in_certificate", c->serial);
    json_open_key(w, "templates");
    for (unsigned f = 0; f < PROFILE_FIELDS; f++)
        json_kv_str(w, profile_text_field((enum profile_field)f), *c->text[f] ? c->text[f] : NULL);
    json_close(w);
    json_array_key(w, "eku");
    for (size_t i = 0; c->eku[i]; i++)
        json_v_str(w, c->eku[i]);
    json_array_end(w);
    json_kv_str(w, "hardware_module", *c->hardware ? c->hardware : NULL);
    json_kv_str(w, "facts_oid", *c->facts_oid ? c->facts_oid : NULL);
    json_array_key(w, "facts");
    for (unsigned i = 0; i < FACT_MAX; i++)
        if (c->facts >> i & 1)
            json_v_str(w, profile_fact_name((enum profile_fact_id)i));
    json_array_end(w);
    json_open_key(w, "policy");
    write_policy(w, p);
    json_close(w);
    json_close(w);
}

API_HANDLER(profile_list)
{
    struct api *api = req->ctx;
    struct json_w w;
    struct view v = {.w = &w, .api = api, .a = req->arena};
    (void)ei;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, "profiles");
    TD_TRY(ca_profiles_each(api->profiles, NULL, write_profile, &v));
    json_array_end(&w);
    json_close(&w);
    return api_done(resp, 200);
}

static enum td_err name_param(const struct req *req, const char **ret, struct errinfo *ei)
{
    *ret = arena_dup(req->arena, req->params[0]);
    return *ret ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

static enum td_err answer(const struct req *req, struct resp *resp, const char *name,
                          struct errinfo *ei)
{
    struct api *api = req->ctx;
    struct json_w w;
    struct view v = {.w = &w, .api = api, .a = req->arena};
    json_w_init(&w, &resp->body);
    if (ca_profiles_each(api->profiles, name, write_profile, &v) != TD_OK)
        return err_reason(ei, TD_NOTFOUND, "profile-unknown", "no such certificate profile");
    TD_TRY(api_etag(resp, v.rev));
    return api_done(resp, 200);
}

API_HANDLER(profile_get)
{
    const char *name;
    TD_TRY(name_param(req, &name, ei));
    return answer(req, resp, name, ei);
}

/* An optional array of words, joined. */
static enum td_err read_words(const struct json *body, const char *key,
                              char out[static CA_POLICY_TEXT], struct errinfo *ei)
{
    const struct json *list = json_member(body, key);
    size_t n = 0;
    out[0] = 0;
    if (!list)
        return TD_OK;
    if (json_kind(list) != JSON_K_ARRAY)
        return err_set(ei, TD_INVAL, "%s: an array of texts", key);
    for (size_t i = 0; i < json_size(list); i++) {
        const char *s = json_str(json_element(list, i));
        if (!s || !*s || strpbrk(s, " \t|"))
            return err_set(ei, TD_INVAL, "%s: an array of words", key);
        int k = snprintf(out + n, CA_POLICY_TEXT - n, "%s%s", n ? " " : "", s);
        if (k < 0 || (size_t)k >= CA_POLICY_TEXT - n)
            return err_set(ei, TD_LIMIT, "%s: too long", key);
        n += (size_t)k;
    }
    return TD_OK;
}

static enum td_err read_min_os(const struct json *body, char out[static CA_POLICY_TEXT],
                               struct errinfo *ei)
{
    const struct json *map = json_member(body, "min_os");
    size_t n = 0;
    out[0] = 0;
    if (!map)
        return TD_OK;
    if (json_kind(map) != JSON_K_OBJECT)
        return err_set(ei, TD_INVAL, "min_os: an object of versions by platform");
    for (size_t i = 0; i < json_size(map); i++) {
        const char *key = NULL, *s = json_str(json_member_at(map, i, &key));
        if (!s || !key || strpbrk(key, " |=") || strpbrk(s, " |="))
            return err_set(ei, TD_INVAL, "min_os: versions are texts");
        int k = snprintf(out + n, CA_POLICY_TEXT - n, "%s%s=%s", n ? " " : "", key, s);
        if (k < 0 || (size_t)k >= CA_POLICY_TEXT - n)
            return err_set(ei, TD_LIMIT, "min_os: too long");
        n += (size_t)k;
    }
    return TD_OK;
}

static enum td_err read_flag(const struct json *body, const char *key, bool *ret,
                             struct errinfo *ei)
{
    return json_get_bool(body, key, ret) == TD_PARSE ? err_set(ei, TD_INVAL, "%s: a boolean", key)
                                                     : TD_OK;
}

API_HANDLER(profile_policy)
{
    static const char *const members[] = {"enabled",   "eab_required", "groups",
                                          "platforms", "min_os",       NULL};
    struct api *api = req->ctx;
    struct ca_policy p = {.enabled = true};
    const char *name;
    struct json *body;
    int64_t rev;
    TD_TRY(name_param(req, &name, ei));
    TD_TRY(api_if_match(req, &rev, ei));
    TD_TRY(api_body(req, members, &body, ei));
    TD_TRY(read_flag(body, "enabled", &p.enabled, ei));
    TD_TRY(read_flag(body, "eab_required", &p.eab_required, ei));
    TD_TRY(read_words(body, "groups", p.groups, ei));
    TD_TRY(read_words(body, "platforms", p.platforms, ei));
    TD_TRY(read_min_os(body, p.min_os, ei));
    TD_TRY(ca_profiles_set(api->profiles, name, &p, rev, api_actor(req), ei));
    return answer(req, resp, name, ei);
}
