/* room: base */
#include "mdm/base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
    const char *text, *word;
    bool flag;
    int64_t number, time, size;
};

static const struct conf_key keys[] = {
    {"a", "text", CONF_STR, offsetof(struct settings, text), "x", 0, 0, NULL, "doc", false},
    {"a", "word", CONF_ENUM, offsetof(struct settings, word), "on", 0, 0, "on off", "doc", false},
    {"a", "flag", CONF_BOOL, offsetof(struct settings, flag), "yes", 0, 0, NULL, NULL, false},
    {"b", "number", CONF_INT, offsetof(struct settings, number), "5", -9, 9, NULL, NULL, false},
    {"b", "time", CONF_DURATION, offsetof(struct settings, time), "1m", 0, 0, NULL, NULL, false},
    {"b", "size", CONF_SIZE, offsetof(struct settings, size), "1k", 0, 0, NULL, NULL, false},
};

/* What is accepted shows itself, and what is shown is accepted and shows the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct conf_table t = {keys, TD_NITEMS(keys)};
    struct settings s;
    struct errinfo ei = {0};
    arena_auto a;
    buf_auto one, two;
    arena_init(&a, 1 << 20);
    buf_init(&one, 1 << 16);
    buf_init(&two, 1 << 16);
    if (conf_parse(&t, span_of(data, size), &a, &s, &ei) != TD_OK) {
        if (ei.msg[0] == 0)
            abort();
        return 0;
    }
    if (conf_show(&t, &s, true, &one) != TD_OK)
        abort();
    /* "a : b" is a longer line when it is shown as "a = b": the limit of a line may refuse it */
    if (conf_parse(&t, buf_view(&one), &a, &s, &ei) != TD_OK)
        return strstr(ei.msg, "too long") ? 0 : (abort(), 0);
    if (conf_show(&t, &s, true, &two) != TD_OK || !span_eq(buf_view(&one), buf_view(&two)))
        abort();
    return 0;
}
