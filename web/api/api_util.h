/* What the handlers of the API share: pages, bodies, parameters. */
#ifndef TD_WEB_API_UTIL_H
#define TD_WEB_API_UTIL_H

#include "mdm/wire/json.h"
#include "web/api/api.h"

#define API_PAGE 100 /* rows when ?limit is absent */
#define API_JSON "application/json"

/* ?limit (1..LIMIT_PAGE_MAX) and ?cursor, decoded; *ret_after is "" without a cursor. */
struct api_page {
    size_t limit;
    const char *after;
    const struct api *api; /* in a list's `read` */
};
TD_NODISCARD enum td_err api_page_get(const struct req *r, struct api_page *ret,
                                      struct errinfo *ei);

/* As api_page_get for lists keyed by a number, newest first; *ret_before INT64_MAX without one. */
TD_NODISCARD enum td_err api_page_num(const struct req *r, size_t *ret_limit, int64_t *ret_before,
                                      struct errinfo *ei);

/* "next_cursor": the opaque form of `key` when the page was full, else null. */
enum td_err api_page_next(struct json_w *w, struct arena *a, bool full, const char *key);
enum td_err api_page_next_num(struct json_w *w, struct arena *a, bool full, int64_t key);

/* A list keyed by text: how a page of rows is read, and one of them written as JSON. */
struct api_list {
    const char *name; /* of the array: "devices" */
    size_t row_size;
    enum td_err (*read)(struct tx *tx, const struct api_page *page, struct arena *a,
                        void **ret_rows, size_t *ret_n, struct errinfo *ei);
    void (*write)(struct json_w *w, const void *row);
    const char *(*key)(const void *row); /* the cursor behind it */
};

/* Answers {"<name>":[...],"next_cursor":...}. */
TD_NODISCARD enum td_err api_list_answer(const struct req *req, struct resp *resp,
                                         const struct api_list *l, struct errinfo *ei);

/* The {serial} segment (parameter 0) as a string: TD_INVAL when no serial number can look so. */
TD_NODISCARD enum td_err api_serial(const struct req *r, const char **ret, struct errinfo *ei);

/* The body as a JSON object with no members but `names` (NULL-terminated; NULL: the caller looks).
 */
TD_NODISCARD enum td_err api_body(const struct req *r, const char *const *names, struct json **ret,
                                  struct errinfo *ei);

/* An optional string member: *ret keeps its value when absent; another type is an error. */
TD_NODISCARD enum td_err api_str(const struct json *body, const char *name, size_t max,
                                 const char **ret, struct errinfo *ei);

/* Begins {"key":[ from scratch: for jobs that write rows as they come and may run again. */
void api_restart(struct json_w *w, const char *key);

/* If-Match: "rev", or * and none: -1. */
TD_NODISCARD enum td_err api_if_match(const struct req *r, int64_t *ret, struct errinfo *ei);
/* The same, and If-None-Match: * (to create only): 0. */
TD_NODISCARD enum td_err api_preconditions(const struct req *r, int64_t *ret, struct errinfo *ei);
/* For what takes no member: an empty object does as well as no body. */
TD_NODISCARD enum td_err api_no_members(const struct req *r, struct errinfo *ei);
TD_NODISCARD enum td_err api_etag(struct resp *resp, int64_t rev);

/* Ends an answer that the writer filled. */
TD_NODISCARD enum td_err api_done(struct resp *resp, int status);

/* A digest as lower-case hex. */
void api_hex(struct json_w *w, const char *key, struct span bytes);

/* Who did it, for the audit trail: "token:NAME". In the arena. */
const char *api_actor(const struct req *r);

#endif
