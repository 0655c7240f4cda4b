#include "profiles/enroll/enroll.h"

#include <errno.h>
#include <qrencode.h>

enum {
    QUIET = 4,      /* modules around the symbol, ISO/IEC 18004 */
    URL_MAX = 1024, /* an enrolment URL has about 100 bytes */
};

/* Eleven bytes at most. A symbol has some 700 runs, so printf would cost more than the symbol. */
static char *digits(char *to, int v)
{
    char text[12];
    size_t n = 0;
    do {
        text[n++] = (char)('0' + v % 10);
    } while ((v /= 10) > 0);
    while (n > 0)
        *to++ = text[--n];
    return to;
}

static enum td_err run_path(struct buf *b, int x, int y, int run)
{
    char out[64], *p = out;
    *p++ = 'M';
    p = digits(p, x);
    *p++ = ' ';
    p = digits(p, y);
    *p++ = 'h';
    p = digits(p, run);
    memcpy(p, "v1h-", 4);
    p = digits(p + 4, run);
    *p++ = 'z';
    return buf_add(b, out, (size_t)(p - out));
}

/* One path; each run of dark modules is a rectangle. The least bit of a module is its colour. */
static enum td_err svg(const QRcode *qr, struct buf *b)
{
    int size = qr->width + 2 * QUIET;
    buf_printf(b,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
               "shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/>"
               "<path d=\"",
               size, size, size, size);
    for (int y = 0; y < qr->width; y++) {
        const unsigned char *row = qr->data + (size_t)y * (size_t)qr->width;
        for (int x = 0; x < qr->width;) {
            int run = 0;
            while (x + run < qr->width && (row[x + run] & 1))
                run++;
            if (run)
                (void)run_path(b, x + QUIET, y + QUIET, run);
            x += run ? run : 1;
        }
    }
    return buf_str(b, "\"/></svg>\n");
}

enum td_err enroll_qr_svg(const char *url, struct buf *b, struct errinfo *ei)
{
    size_t n = url ? strlen(url) : 0;
    if (n < 1 || n > URL_MAX)
        return err_set(ei, TD_INVAL, "url: 1 to %d bytes", URL_MAX);
    QRcode *qr = QRcode_encodeData((int)n, (const unsigned char *)url, 0, QR_ECLEVEL_M);
    if (!qr)
        return err_sys(ei, errno == ENOMEM ? TD_NOMEM : TD_INVAL, errno, "no QR code");
    enum td_err e = svg(qr, b);
    QRcode_free(qr);
    return e == TD_OK ? TD_OK : err_set(ei, e, "no memory for the QR code");
}
