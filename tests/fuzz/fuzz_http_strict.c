/* room: http */
#include <stdlib.h>

#include "mdm/base/limits.h"
#include "mdm/base/str.h"
#include "web/http/http_strict.h"

/* Lines "METHOD URL VERSION", then "name:value": the guard must hold its own promises. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check(const struct http_head *h, const struct http_framing *f)
{
    size_t lengths = 0, encodings = 0, hosts = 0;
    for (size_t i = 0; i < h->nheaders; i++) {
        lengths += str_ieq(h->headers[i].name, SPAN_LIT("content-length"));
        encodings += str_ieq(h->headers[i].name, SPAN_LIT("transfer-encoding"));
        hosts += str_ieq(h->headers[i].name, SPAN_LIT("host"));
        must(h->headers[i].name.n > 0);
        must(!h->headers[i].value.n || !memchr(h->headers[i].value.p, 0, h->headers[i].value.n));
    }
    must(lengths + encodings <= 1 && hosts <= 1 && (hosts == 1 || f->http10));
    must(f->chunked == (encodings == 1) && h->nheaders <= LIMIT_HTTP_HEADERS);
    must(f->path.n > 0 && f->path.p[0] == '/' && f->path.n + f->query.n <= LIMIT_HTTP_URL);
    must(!memchr(f->path.p, 0, f->path.n) && !memchr(f->path.p, ' ', f->path.n));
    if (http_strict_path(f->path, f->path.n, NULL) == TD_OK)
        for (size_t i = 0; i + 1 < f->path.n; i++) {
            must(!(f->path.p[i] == '/' && f->path.p[i + 1] == '/'));
            must(!(f->path.p[i] == '/' && f->path.p[i + 1] == '.' &&
                   (i + 2 == f->path.n || f->path.p[i + 2] == '/')));
        }
    (void)http_strict_path(f->path, f->path.n < 6 ? f->path.n : 6, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct req_header headers[LIMIT_HTTP_HEADERS + 2];
    struct span rest = span_of(data, size), line = str_cut(&rest, '\n');
    struct http_head h = {.headers = headers};
    h.method = str_cut(&line, ' ');
    h.url = str_cut(&line, ' ');
    h.version = line;
    while (rest.p && h.nheaders < TD_NITEMS(headers)) {
        line = str_cut(&rest, '\n');
        headers[h.nheaders].name = str_cut(&line, ':');
        headers[h.nheaders].value = line;
        h.nheaders++;
    }
    struct http_framing f;
    struct errinfo ei = {0};
    if (http_strict_head(&h, &f, &ei) == TD_OK)
        check(&h, &f);
    else
        must(ei.reason != NULL);
    return 0;
}
