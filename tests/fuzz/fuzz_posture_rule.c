/* room: posture */
/* A rule of the API, its name in the first line: what is accepted comes out as JSON that is
 * accepted again and means the same. */
#include "mdm/posture/rule.h"

#include <stdio.h>
#include <stdlib.h>

#include "mdm/base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void written(const struct posture_rule *r, struct buf *b)
{
    struct json_w w;
    buf_init(b, 1 << 20);
    json_w_init(&w, b);
    posture_rule_write(&w, r);
    if (b->err != TD_OK)
        abort();
}

/* The members that name the row are not for input. */
static struct span without_row(const struct buf *b, char *text, size_t max)
{
    struct span name, s = buf_view(b);
    static const char row[] = ",\"rev\":0,\"updated_at\":null}";
    name = s;
    str_cut(&name, ',');
    size_t n = name.n - (sizeof row - 1);
    if (!name.p || name.n < sizeof row || memcmp(name.p + n, row, sizeof row - 1) != 0)
        abort();
    snprintf(text, max, "{%.*s}", (int)n, (const char *)name.p);
    return span_str(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[1 << 16];
    arena_auto a;
    buf_auto first, second;
    struct posture_rule r, again;
    struct json *j = NULL;
    struct span body = span_of(data, size), name = str_cut(&body, '\n');
    arena_init(&a, 32 << 20);
    buf_init(&first, 0);
    buf_init(&second, 0);
    if (json_parse(body, &a, &j, NULL) != TD_OK || posture_rule_parse(name, j, &r, NULL) != TD_OK)
        return 0;
    written(&r, &first);
    if (json_parse(without_row(&first, text, sizeof text), &a, &j, NULL) != TD_OK ||
        posture_rule_parse(name, j, &again, NULL) != TD_OK)
        abort();
    written(&again, &second);
    if (!span_eq(buf_view(&first), buf_view(&second)))
        abort();
    posture_rule_applies(&r, name, name);
    struct span values = span_str(r.values), one = str_cut(&values, '\n');
    char value[POSTURE_VALUE_MAX + 1];
    snprintf(value, sizeof value, "%.*s", (int)one.n, (const char *)one.p);
    if (posture_rule_holds(&r, value) != (r.op != POSTURE_NE && r.op != POSTURE_BELOW))
        abort();
    return 0;
}
