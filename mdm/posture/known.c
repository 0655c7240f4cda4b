#include "mdm/posture/posture_int.h"

/* The row of a source: {"filevault": ["true", at, since], ...}. */
#define ROW_MAX 65536

struct posture_obs *posture_known_find(struct posture_known *k, enum posture_source src,
                                       const char *name)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->obs[i].source == src && strcmp(k->obs[i].name, name) == 0)
            return &k->obs[i];
    return NULL;
}

static enum td_err read_row(enum posture_source src, struct span text, struct arena *a,
                            struct posture_known *ret, struct errinfo *ei)
{
    struct json *root;
    TD_TRY(json_parse(text, a, &root, ei));
    for (size_t i = 0; i < json_size(root); i++) {
        const char *name;
        const struct json *v = json_member_at(root, i, &name);
        const char *value = json_str(json_element(v, 0));
        if (!value || ret->n == POSTURE_KNOWN_MAX)
            return err_set(ei, TD_DB, "what is known of a device is damaged");
        ret->obs[ret->n++] = (struct posture_obs){.name = name,
                                                  .source = src,
                                                  .value = value,
                                                  .at = json_int(json_element(v, 1)),
                                                  .since = json_int(json_element(v, 2))};
    }
    return TD_OK;
}

enum td_err posture_known_load(struct tx *tx, const char *serial, struct arena *a,
                               struct posture_known *ret, struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    ret->n = 0;
    TD_TRY(tx_query(tx, POSTURE_SQL(FACTS), SV_LIST(SV_TEXT(serial)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK) {
        int64_t src = cur_int(&c, 0);
        if (src < 0 || src >= POSTURE_SOURCES)
            continue;
        e = read_row((enum posture_source)src, cur_span(&c, 1), a, ret, ei);
        if (e != TD_OK)
            break;
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err posture_known_merge(struct posture_known *k, const struct posture_said *s,
                                struct errinfo *ei)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct posture_obs *o = &s->obs[i];
        struct posture_obs *was = posture_known_find(k, s->source, o->name);
        if (!was && k->n == POSTURE_KNOWN_MAX)
            return err_reason(ei, TD_LIMIT, "too-many-facts", "more facts than a device has");
        if (was && was->at > o->at)
            continue; /* it took a longer way than what came meanwhile */
        int64_t since = was && strcmp(was->value, o->value) == 0 ? was->since : o->at;
        if (!was)
            was = &k->obs[k->n++];
        *was = *o;
        was->source = s->source;
        was->since = since;
        was->fresh = true;
    }
    return TD_OK;
}

enum td_err posture_known_save(struct tx *tx, const char *serial, const struct posture_known *k,
                               enum posture_source src, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, ROW_MAX);
    struct json_w w;
    json_w_init(&w, &b);
    json_open(&w);
    for (size_t i = 0; i < k->n; i++) {
        const struct posture_obs *o = &k->obs[i];
        if (o->source != src)
            continue;
        json_array_key(&w, o->name);
        json_v_str(&w, o->value);
        json_v_int(&w, o->at);
        json_v_int(&w, o->since);
        json_array_end(&w);
    }
    json_close(&w);
    if (b.err != TD_OK)
        return err_set(ei, b.err, "no memory for what is known of a device");
    return tx_exec(tx, POSTURE_SQL(FACTS_PUT),
                   SV_LIST(SV_TEXT(serial), SV_INT(src), SV_SPAN(buf_view(&b))), NULL, ei);
}
