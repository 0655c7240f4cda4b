#include "profiles/enroll/enroll.h"

#include <errno.h>
#include <qrencode.h>

enum {
    QUIET = 4,      /* modules around the symbol, ISO/IEC 18004 */
    URL_MAX = 1024, /* an enrolment URL has about 100 bytes */
};

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
                buf_printf(b, "M%d %dh%dv1h-%dz", x + QUIET, y + QUIET, run, run);
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
