/* room: wire */
#include "mdm/base/limits.h"
#include "mdm/wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_value(struct json_w *w, const char *key, const struct json *v)
{
    const char *k = NULL;
    struct json *m;
    switch (json_kind(v)) {
    case JSON_K_OBJECT:
        json_open_key(w, key);
        for (size_t i = 0; (m = json_member_at(v, i, &k)) != NULL; i++)
            write_value(w, k, m);
        json_close(w);
        break;
    case JSON_K_ARRAY:
        json_array_key(w, key);
        for (size_t i = 0; i < json_size(v); i++)
            write_value(w, NULL, json_element(v, i));
        json_array_end(w);
        break;
    case JSON_K_STR:
        json_kv_str(w, key, json_str(v));
        break;
    case JSON_K_INT:
        json_kv_int(w, key, json_int(v));
        break;
    case JSON_K_BOOL:
        json_kv_bool(w, key, json_bool(v));
        break;
    case JSON_K_REAL:
    case JSON_K_NULL:
        json_kv_str(w, key, NULL);
        break;
    }
}

/* What is accepted is written as JSON that is accepted again and writes the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 16384)
        return 0;
    arena_auto a;
    arena_init(&a, LIMIT_REQ_ARENA);
    struct json *v = NULL;
    if (json_parse(span_of(data, size), &a, &v, NULL) != TD_OK)
        return 0;
    buf_auto one, two;
    buf_init(&one, (size_t)1 << 20);
    buf_init(&two, (size_t)1 << 20);
    struct json_w w;
    json_w_init(&w, &one);
    write_value(&w, NULL, v);
    if (one.err != TD_OK || json_parse(buf_view(&one), &a, &v, NULL) != TD_OK)
        abort();
    json_w_init(&w, &two);
    write_value(&w, NULL, v);
    if (!span_eq(buf_view(&one), buf_view(&two)))
        abort();
    return 0;
}
