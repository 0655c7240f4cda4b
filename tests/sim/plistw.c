#include "tests/sim/plistw.h"

#include "mdm/base/b64.h"

void plistw_begin(struct buf *b)
{
    buf_str(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
               "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
               "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
               "<plist version=\"1.0\">\n<dict>\n");
}

void plistw_end(struct buf *b)
{
    buf_str(b, "</dict>\n</plist>\n");
}

static void escaped(struct buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '&')
            buf_str(b, "&amp;");
        else if (*s == '<')
            buf_str(b, "&lt;");
        else if (*s == '>')
            buf_str(b, "&gt;");
        else
            buf_u8(b, (uint8_t)*s);
    }
}

void plistw_key(struct buf *b, const char *key)
{
    buf_str(b, "<key>");
    escaped(b, key);
    buf_str(b, "</key>\n");
}

void plistw_v_str(struct buf *b, const char *v)
{
    buf_str(b, "<string>");
    escaped(b, v);
    buf_str(b, "</string>\n");
}

void plistw_v_data(struct buf *b, struct span v)
{
    buf_str(b, "<data>");
    b64_enc(b, v);
    buf_str(b, "</data>\n");
}

void plistw_raw(struct buf *b, const char *xml)
{
    buf_str(b, xml);
}

void plistw_str(struct buf *b, const char *key, const char *v)
{
    plistw_key(b, key);
    plistw_v_str(b, v);
}

void plistw_data(struct buf *b, const char *key, struct span v)
{
    plistw_key(b, key);
    plistw_v_data(b, v);
}

void plistw_int(struct buf *b, const char *key, int64_t v)
{
    plistw_key(b, key);
    buf_printf(b, "<integer>%lld</integer>\n", (long long)v);
}

void plistw_real(struct buf *b, const char *key, double v)
{
    plistw_key(b, key);
    buf_printf(b, "<real>%.6g</real>\n", v);
}

void plistw_bool(struct buf *b, const char *key, bool v)
{
    plistw_key(b, key);
    buf_str(b, v ? "<true/>\n" : "<false/>\n");
}
