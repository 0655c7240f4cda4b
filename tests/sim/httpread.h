/* Reads HTTP/1.1 responses from any source of bytes. */
#ifndef TD_SIM_HTTPREAD_H
#define TD_SIM_HTTPREAD_H

#include "mdm/base/buf.h"

/* Gives at most n bytes; *ret_n 0 is the end of the stream. */
typedef enum td_err (*httpread_fn)(void *ctx, void *p, size_t n, size_t *ret_n, struct errinfo *ei);

struct httpread {
    httpread_fn fill;
    void *ctx;
    uint8_t in[4096]; /* bytes read ahead */
    size_t at, n;
};

struct httpread_resp {
    int status;
    struct buf head; /* header lines without the status line */
    struct buf body;
};

void httpread_free(struct httpread_resp *r);
#define httpread_auto __attribute__((cleanup(httpread_free))) struct httpread_resp

/* Reads one whole response; *ret is initialised here and freed by the caller, also on failure.
 * 100 Continue is passed over. *ret_keep: the connection may carry another request. *ret_started:
 * at least one byte of the response arrived. TD_PARSE on anything malformed, TD_LIMIT over 64 KiB
 * of head or 32 MiB of body, TD_UPSTREAM when the stream ends early. */
enum td_err httpread_response(struct httpread *r, bool head_method, struct httpread_resp *ret,
                              bool *ret_keep, bool *ret_started, struct errinfo *ei);

/* Copies the first header of that name (ASCII case-insensitive), trimmed; false when absent or
 * over the size. */
bool httpread_header(const struct httpread_resp *r, const char *name, char *out, size_t n);

#endif
