#include <jansson.h>

#include "mdm/wire/json.h"

#include "mdm/base/limits.h"

/* A struct json is jansson's json_t under another name. */
static json_t *in(const struct json *v)
{
    return (json_t *)(uintptr_t)v;
}

static struct json *out(json_t *v)
{
    return (struct json *)(void *)v;
}

static void release(void *root)
{
    json_decref(root);
}

/* Bounds depth and size before jansson builds anything: an empty array costs 2 bytes on the wire
 * and a hundred in memory. Counts what could begin a value, so never too little. */
static enum td_err guard(struct span s, struct errinfo *ei)
{
    size_t depth = 0, nodes = 1;
    bool string = false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
            continue;
        }
        string = c == '"';
        if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && depth > 0)
            depth--;
        if (c == '[' || c == '{' || c == ',')
            nodes++;
        if (depth > LIMIT_JSON_DEPTH)
            return err_reason(ei, TD_LIMIT, "json-depth", "JSON deeper than %d levels at byte %zu",
                              LIMIT_JSON_DEPTH, i);
        if (nodes > LIMIT_JSON_NODES)
            return err_reason(ei, TD_LIMIT, "json-nodes", "JSON of more than %d values",
                              LIMIT_JSON_NODES);
    }
    return TD_OK;
}

enum td_err json_parse(struct span s, struct arena *a, struct json **ret, struct errinfo *ei)
{
    if (s.n == 0)
        return err_set(ei, TD_PARSE, "empty, where JSON was expected");
    TD_TRY(guard(s, ei));
    json_error_t je;
    json_t *root =
        json_loadb((const char *)s.p, s.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
    if (!root && json_error_code(&je) == json_error_out_of_memory)
        return err_set(ei, TD_NOMEM, "no memory for the JSON");
    if (!root)
        return err_set(ei, TD_PARSE, "JSON line %d, column %d: %.100s", je.line, je.column,
                       je.text);
    if (!arena_defer(a, release, root)) {
        json_decref(root);
        return err_set(ei, TD_NOMEM, "no memory for the JSON");
    }
    *ret = out(root);
    return TD_OK;
}

enum json_kind json_kind(const struct json *v)
{
    static const enum json_kind kinds[] = {
        [JSON_OBJECT] = JSON_K_OBJECT, [JSON_ARRAY] = JSON_K_ARRAY, [JSON_STRING] = JSON_K_STR,
        [JSON_INTEGER] = JSON_K_INT,   [JSON_REAL] = JSON_K_REAL,   [JSON_TRUE] = JSON_K_BOOL,
        [JSON_FALSE] = JSON_K_BOOL,    [JSON_NULL] = JSON_K_NULL,
    };
    return v ? kinds[json_typeof(in(v))] : JSON_K_NULL;
}

struct json *json_member(const struct json *obj, const char *key)
{
    return out(json_object_get(in(obj), key));
}

size_t json_size(const struct json *v)
{
    return json_is_object(in(v)) ? json_object_size(in(v)) : json_array_size(in(v));
}

struct json *json_element(const struct json *array, size_t i)
{
    return out(json_array_get(in(array), i));
}

struct json *json_member_at(const struct json *obj, size_t i, const char **ret_key)
{
    void *it = json_object_iter(in(obj));
    while (it && i-- > 0)
        it = json_object_iter_next(in(obj), it);
    if (!it)
        return NULL;
    if (ret_key)
        *ret_key = json_object_iter_key(it);
    return out(json_object_iter_value(it));
}

/* The member of that kind. */
static enum td_err typed(const struct json *obj, const char *key, enum json_kind kind,
                         struct json **ret)
{
    struct json *v = json_member(obj, key);
    if (!v)
        return TD_NOTFOUND;
    if (json_kind(v) != kind)
        return TD_PARSE;
    *ret = v;
    return TD_OK;
}

enum td_err json_get_str(const struct json *obj, const char *key, const char **ret)
{
    struct json *v = NULL;
    TD_TRY(typed(obj, key, JSON_K_STR, &v));
    *ret = json_str(v);
    return TD_OK;
}

enum td_err json_get_int(const struct json *obj, const char *key, int64_t *ret)
{
    struct json *v = NULL;
    TD_TRY(typed(obj, key, JSON_K_INT, &v));
    *ret = json_int(v);
    return TD_OK;
}

enum td_err json_get_bool(const struct json *obj, const char *key, bool *ret)
{
    struct json *v = NULL;
    TD_TRY(typed(obj, key, JSON_K_BOOL, &v));
    *ret = json_bool(v);
    return TD_OK;
}

const char *json_str(const struct json *v)
{
    return json_string_value(in(v));
}

int64_t json_int(const struct json *v)
{
    return json_integer_value(in(v));
}

double json_real(const struct json *v)
{
    return json_number_value(in(v));
}

bool json_bool(const struct json *v)
{
    return json_is_true(in(v));
}

enum td_err json_only(const struct json *obj, const char *const *names, struct errinfo *ei)
{
    if (json_kind(obj) != JSON_K_OBJECT)
        return err_set(ei, TD_PARSE, "a JSON object was expected");
    for (void *it = json_object_iter(in(obj)); it; it = json_object_iter_next(in(obj), it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;
        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (!names[i])
            return err_reason(ei, TD_PARSE, "unknown-member", "unknown member \"%.60s\"", key);
    }
    return TD_OK;
}
