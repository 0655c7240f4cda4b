/* JSON in through jansson, bounded and strict; JSON out by a writer that only appends. */
#ifndef TD_WIRE_JSON_H
#define TD_WIRE_JSON_H

#include "mdm/base/arena.h"
#include "mdm/base/buf.h"

/* libjansson exports these names with another meaning and would bind to ours otherwise. */
#define json_real wire_json_real
#define json_array wire_json_array

struct json; /* a value; borrowed from the tree, which is freed with the arena */

/* One value; depth <= LIMIT_JSON_DEPTH, nodes <= LIMIT_JSON_NODES, duplicate members, trailing
 * bytes, NUL and invalid UTF-8 are refused with the position. Numbers: integers in 64 bits, else
 * TD_PARSE when out of range. */
TD_NODISCARD enum td_err json_parse(struct span s, struct arena *a, struct json **ret,
                                    struct errinfo *ei);

enum json_kind {
    JSON_K_NULL,
    JSON_K_BOOL,
    JSON_K_INT,
    JSON_K_REAL,
    JSON_K_STR,
    JSON_K_ARRAY,
    JSON_K_OBJECT
};

enum json_kind json_kind(const struct json *v);                    /* NULL reads as JSON_K_NULL */
struct json *json_member(const struct json *obj, const char *key); /* NULL: absent or no object */
size_t json_size(const struct json *v);                            /* elements or members, else 0 */
struct json *json_element(const struct json *array, size_t i);
/* The i-th member; *ret_key borrowed. NULL behind the end. O(n) for each call: for small objects.
 */
struct json *json_member_at(const struct json *obj, size_t i, const char **ret_key);

/* Typed access (*ret is untouched on failure): TD_NOTFOUND when absent, TD_PARSE when of another
 * type. Borrowed strings. */
TD_NODISCARD enum td_err json_get_str(const struct json *obj, const char *key, const char **ret);
TD_NODISCARD enum td_err json_get_int(const struct json *obj, const char *key, int64_t *ret);
TD_NODISCARD enum td_err json_get_bool(const struct json *obj, const char *key, bool *ret);
/* The value itself; NULL when v is NULL or no string. */
const char *json_str(const struct json *v);
int64_t json_int(const struct json *v); /* 0 when not an integer */
double json_real(const struct json *v);
bool json_bool(const struct json *v);

/* Refuses members whose names are not in the NULL-terminated list, and what is no object. */
TD_NODISCARD enum td_err json_only(const struct json *obj, const char *const *names,
                                   struct errinfo *ei);

/* --- writing: commas and escapes are the writer's business; bytes that are no UTF-8 become U+FFFD.
 * Errors stick in the buffer: check b->err (or the last append) once at the end. --- */
struct json_w {
    struct buf *b;
    bool comma;
    int depth;
};

void json_w_init(struct json_w *w, struct buf *b);
void json_open(struct json_w *w); /* { as an element or the root */
void json_open_key(struct json_w *w, const char *key);
void json_close(struct json_w *w);
void json_array(struct json_w *w); /* [ */
void json_array_key(struct json_w *w, const char *key);
void json_array_end(struct json_w *w);
void json_kv_str(struct json_w *w, const char *key, const char *v); /* NULL writes null */
void json_kv_span(struct json_w *w, const char *key, struct span v);
void json_kv_int(struct json_w *w, const char *key, int64_t v);
void json_kv_bool(struct json_w *w, const char *key, bool v);
void json_kv_time(struct json_w *w, const char *key, int64_t v);    /* RFC 3339; 0 writes null */
void json_kv_raw(struct json_w *w, const char *key, struct span v); /* JSON text as it stands */
void json_v_str(struct json_w *w, const char *v);
void json_v_int(struct json_w *w, int64_t v);
void json_v_raw(struct json_w *w, struct span v);

#endif
