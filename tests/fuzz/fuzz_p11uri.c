/* room: signer */
/* PKCS#11 URIs: what is written of one that was read names the same key. */
#include <stdlib.h>

#include "acme/signer/p11uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct p11uri u, again;
    struct errinfo ei = {0};
    buf_auto b;
    buf_init(&b, 4096);
    if (p11uri_parse(span_of(data, size), &u, &ei) != TD_OK) {
        if (ei.msg[0] == 0)
            abort();
        return 0;
    }
    if (u.nid > P11URI_ID_MAX || p11uri_put(&u, &b) != TD_OK ||
        p11uri_parse(buf_view(&b), &again, NULL) != TD_OK || strcmp(u.token, again.token) != 0 ||
        strcmp(u.serial, again.serial) != 0 || strcmp(u.model, again.model) != 0 ||
        strcmp(u.manufacturer, again.manufacturer) != 0 || strcmp(u.object, again.object) != 0 ||
        u.nid != again.nid || memcmp(u.id, again.id, u.nid) != 0)
        abort();
    return 0;
}
