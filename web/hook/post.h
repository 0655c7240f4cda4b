/* One request to an endpoint, over libcurl. The only file that sees <curl/curl.h>.
 *
 * HTTPS whose certificate is verified (http to this machine alone), no redirects, no proxies, no
 * cookies, one protocol version, bounded time; of the answer the status counts, at most
 * HOOK_ANSWER_MAX bytes of its body are read, and dropped. */
#ifndef TD_WEB_HOOK_POST_H
#define TD_WEB_HOOK_POST_H

#include <stdatomic.h>

#include "mdm/base/err.h"
#include "mdm/base/span.h"

#define HOOK_URL_MAX 1000
#define HOOK_ANSWER_MAX 16384
#define HOOK_ERROR_MAX 200

/* Once, before threads exist. */
TD_NODISCARD enum td_err hook_post_init(struct errinfo *ei);

/* TD_INVAL with reason "webhook-url": not https (or http to 127.0.0.1, ::1, localhost), with a
 * user, a password or a fragment, without a host, or too long. */
TD_NODISCARD enum td_err hook_url_check(const char *url, struct errinfo *ei);

struct hook_post_conf {
    int64_t timeout, connect; /* seconds, of the whole request and of its beginning */
    const char *ca_file;      /* PEM; "" for the system's */
    const atomic_bool *stop;  /* ends a request that is under way */
};

struct hook_answer {
    long status;                    /* 0: there was none */
    int64_t retry_after;            /* seconds it asks for, 0 for none */
    char error[HOOK_ERROR_MAX + 1]; /* printable ASCII, "" when it was taken */
};

/* Connections that stay open between the requests of one turn. One thread. */
struct hook_post;
TD_NODISCARD enum td_err hook_post_open(const struct hook_post_conf *conf, struct hook_post **ret,
                                        struct errinfo *ei);
void hook_post_close(struct hook_post *p); /* NULL is fine */

/* Sends; *ret says how it went. Header lines are "Name: value". An error only for lack of memory.
 */
TD_NODISCARD enum td_err hook_post_send(struct hook_post *p, const char *url,
                                        const char *const *headers, size_t nheaders,
                                        struct span body, struct hook_answer *ret,
                                        struct errinfo *ei);

#endif
