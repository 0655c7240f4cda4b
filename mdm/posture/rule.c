#include "mdm/posture/rule.h"

#include <stdio.h>

#include "mdm/base/str.h"
#include "mdm/base/words.h"

#define WORD_MAX 40
#define DURATION_MAX (INT64_C(365) * 86400)
#define CONFIRM 2 /* a single failed reading while a Mac starts or updates is no verdict */

static const struct {
    const char *name;
    bool bools, words, versions, texts; /* kinds that it fits */
} ops[] = {
    [POSTURE_EQ] = {"=", true, true, true, true},
    [POSTURE_NE] = {"!=", true, true, true, true},
    [POSTURE_IN] = {"in", false, true, false, true},
    [POSTURE_LEAST] = {">=", false, false, true, false},
    [POSTURE_BELOW] = {"<", false, false, true, false},
};

#define INVALID(ei, ...) err_reason((ei), TD_INVAL, "invalid-rule", __VA_ARGS__)

/* --- members --- */

static enum td_err get_text(const struct json *body, const char *key,
                            char out[static POSTURE_RULE_TEXT + 1], struct errinfo *ei)
{
    const struct json *v = json_member(body, key);
    const char *s = json_str(v);
    if (!v)
        return TD_OK;
    bool fits = s && strlen(s) <= POSTURE_RULE_TEXT;
    for (size_t i = 0; fits && s[i]; i++)
        fits = (unsigned char)s[i] >= 0x20 && s[i] != 0x7f;
    if (!fits)
        return INVALID(ei, "%s: a text of at most %d bytes without control characters", key,
                       POSTURE_RULE_TEXT);
    snprintf(out, POSTURE_RULE_TEXT + 1, "%s", s);
    return TD_OK;
}

static enum td_err get_bool(const struct json *body, const char *key, bool *ret, struct errinfo *ei)
{
    return json_get_bool(body, key, ret) == TD_PARSE ? INVALID(ei, "%s: true or false", key)
                                                     : TD_OK;
}

static enum td_err get_number(const struct json *body, const char *key, int64_t min, int64_t max,
                              int64_t *ret, struct errinfo *ei)
{
    int64_t v = *ret;
    if (json_get_int(body, key, &v) == TD_PARSE || v < min || v > max)
        return INVALID(ei, "%s: an integer from %lld to %lld", key, (long long)min, (long long)max);
    *ret = v;
    return TD_OK;
}

/* An array of strings as a list with `sep` between, in `size` bytes. */
static enum td_err join(const struct json *list, const char *key, char sep, char *out, size_t size,
                        struct errinfo *ei)
{
    size_t at = 0;
    if (list && json_kind(list) != JSON_K_ARRAY)
        return INVALID(ei, "%s: an array of texts", key);
    for (size_t i = 0; i < json_size(list); i++) {
        const char *s = json_str(json_element(list, i));
        size_t n = s ? strlen(s) : 0;
        if (n == 0 || strchr(s, sep))
            return INVALID(ei, "%s: the text at %zu cannot stand there", key, i);
        if (n + (at > 0) >= size - at)
            return INVALID(ei, "%s: over %zu bytes together", key, size - 1);
        if (at > 0)
            out[at++] = sep;
        memcpy(out + at, s, n + 1);
        at += n;
    }
    return TD_OK;
}

static enum td_err get_words(const struct json *body, const char *key, bool (*fits)(struct span),
                             char out[static POSTURE_RULE_WORDS], struct errinfo *ei)
{
    struct span bad;
    TD_TRY(join(json_member(body, key), key, ' ', out, POSTURE_RULE_WORDS, ei));
    if (!words_sort(out, ' ', WORD_MAX, fits, &bad))
        return INVALID(ei, "%s: '%.*s' cannot stand there", key,
                       bad.n < WORD_MAX ? (int)bad.n : WORD_MAX, (const char *)bad.p);
    return TD_OK;
}

/* --- the condition --- */

static const struct posture_fact *get_fact(const struct json *body, struct posture_rule *r,
                                           struct errinfo *ei)
{
    const char *name = json_str(json_member(body, "fact"));
    const struct posture_fact *f = name ? posture_fact_find(span_str(name)) : NULL;
    if (f)
        snprintf(r->fact, sizeof r->fact, "%s", name);
    else
        INVALID(ei, "fact: there is no fact '%.64s'", name ? name : "");
    return f;
}

static enum td_err can_say(const struct posture_rule *r, const struct posture_fact *f,
                           struct errinfo *ei)
{
    struct span rest = span_str(r->platforms), w;
    if (r->attested && !f->attested)
        return INVALID(ei, "attested: no attestation has %s", r->fact);
    while (*f->platforms && (w = words_next(&rest)).n > 0)
        if (!words_has(span_str(f->platforms), w))
            return INVALID(ei, "platforms: %.*s never says %s", (int)w.n, (const char *)w.p,
                           r->fact);
    return TD_OK;
}

static bool fits_kind(enum posture_op op, enum posture_kind kind)
{
    const bool kinds[] = {[POSTURE_BOOL] = ops[op].bools,
                          [POSTURE_WORD] = ops[op].words,
                          [POSTURE_VERSION] = ops[op].versions,
                          [POSTURE_TEXT] = ops[op].texts};
    return kinds[kind];
}

static enum td_err get_op(const struct json *body, const struct posture_fact *f,
                          enum posture_op *ret, struct errinfo *ei)
{
    const struct json *v = json_member(body, "op");
    const char *name = v ? json_str(v) : "=";
    for (size_t i = 0; name && i < TD_NITEMS(ops); i++) {
        if (strcmp(ops[i].name, name) != 0)
            continue;
        *ret = (enum posture_op)i;
        if (!fits_kind(*ret, f->kind))
            return INVALID(ei, "op: '%s' does not fit a %s", name, posture_kind_name(f->kind));
        return TD_OK;
    }
    return INVALID(ei, "op: one of = != in >= <");
}

static bool any_word(struct span w)
{
    return w.n > 0;
}

static enum td_err no_value(const struct posture_fact *f, struct errinfo *ei)
{
    if (f->kind == POSTURE_WORD)
        return INVALID(ei, "value: one of %s", f->words);
    return INVALID(ei, "value: not a %s", posture_kind_name(f->kind));
}

static enum td_err get_values(const struct json *v, const struct posture_fact *f,
                              struct posture_rule *r, struct errinfo *ei)
{
    struct span bad;
    char one[POSTURE_VALUE_MAX + 1];
    if (!v || json_kind(v) != JSON_K_ARRAY || json_size(v) == 0)
        return INVALID(ei, "value: an array of one or more, for 'in'");
    for (size_t i = 0; i < json_size(v); i++) {
        const char *s = json_str(json_element(v, i));
        if (!s || !posture_value(f, span_str(s), one))
            return no_value(f, ei);
    }
    TD_TRY(join(v, "value", '\n', r->values, sizeof r->values, ei));
    if (!words_sort(r->values, '\n', POSTURE_VALUE_MAX, any_word, &bad))
        return INVALID(ei, "value: more than %d", WORDS_MAX);
    return TD_OK;
}

static enum td_err get_value(const struct json *body, const struct posture_fact *f,
                             struct posture_rule *r, struct errinfo *ei)
{
    const struct json *v = json_member(body, "value");
    char one[POSTURE_VALUE_MAX + 1];
    if (r->op == POSTURE_IN)
        return get_values(v, f, r, ei);
    const char *s = json_str(v);
    if (f->kind == POSTURE_BOOL)
        s = json_kind(v) != JSON_K_BOOL ? NULL : json_bool(v) ? "true" : "false";
    if (!s || !posture_value(f, span_str(s), one))
        return no_value(f, ei);
    snprintf(r->values, sizeof r->values, "%s", one);
    return TD_OK;
}

static enum td_err get_unknown(const struct json *body, bool *ret, struct errinfo *ei)
{
    const struct json *v = json_member(body, "unknown");
    const char *s = v ? json_str(v) : "ignore";
    if (!s || (strcmp(s, "ignore") != 0 && strcmp(s, "fail") != 0))
        return INVALID(ei, "unknown: \"ignore\" or \"fail\"");
    *ret = strcmp(s, "fail") == 0;
    return TD_OK;
}

enum td_err posture_rule_parse(struct span name, const struct json *body, struct posture_rule *ret,
                               struct errinfo *ei)
{
    static const char *const members[] = {"description",  "message", "platforms", "groups",
                                          "fact",         "op",      "value",     "attested",
                                          "max_age",      "unknown", "confirm",   "grace",
                                          "revoke_after", "enforce", "enabled",   NULL};
    struct errinfo why = {0};
    struct posture_rule r = {.confirm = CONFIRM, .enforce = true, .enabled = true};
    if (!posture_name(name, POSTURE_NAME_MAX))
        return INVALID(ei, "name: 1 to %d of a-z, 0-9, '-' and '_'", POSTURE_NAME_MAX);
    enum td_err e = json_only(body, members, &why);
    if (e != TD_OK)
        return INVALID(ei, "%s", err_msg(&why, e));
    snprintf(r.name, sizeof r.name, "%.*s", (int)name.n, (const char *)name.p);
    TD_TRY(get_text(body, "description", r.description, ei));
    TD_TRY(get_text(body, "message", r.message, ei));
    TD_TRY(get_words(body, "platforms", words_platform, r.platforms, ei));
    TD_TRY(get_words(body, "groups", words_plain, r.groups, ei));
    TD_TRY(get_bool(body, "attested", &r.attested, ei));
    const struct posture_fact *f = get_fact(body, &r, ei);
    if (!f)
        return TD_INVAL;
    TD_TRY(can_say(&r, f, ei));
    TD_TRY(get_op(body, f, &r.op, ei));
    TD_TRY(get_value(body, f, &r, ei));
    TD_TRY(get_number(body, "max_age", 0, DURATION_MAX, &r.max_age, ei));
    TD_TRY(get_unknown(body, &r.unknown_fails, ei));
    TD_TRY(get_number(body, "confirm", 1, POSTURE_CONFIRM_LIMIT, &r.confirm, ei));
    TD_TRY(get_number(body, "grace", 0, DURATION_MAX, &r.grace, ei));
    TD_TRY(get_number(body, "revoke_after", 0, DURATION_MAX, &r.revoke_after, ei));
    TD_TRY(get_bool(body, "enforce", &r.enforce, ei));
    TD_TRY(get_bool(body, "enabled", &r.enabled, ei));
    *ret = r;
    return TD_OK;
}

/* --- out --- */

static void write_list(struct json_w *w, const char *key, const char *list, char sep)
{
    struct span rest = span_str(list);
    char one[POSTURE_VALUE_MAX + 1];
    json_array_key(w, key);
    while (rest.n > 0) {
        struct span s = str_cut(&rest, sep);
        snprintf(one, sizeof one, "%.*s", (int)s.n, (const char *)s.p);
        json_v_str(w, one);
    }
    json_array_end(w);
}

void posture_rule_members(struct json_w *w, const struct posture_rule *r)
{
    const struct posture_fact *f = posture_fact_find(span_str(r->fact));
    json_kv_str(w, "description", r->description);
    json_kv_str(w, "message", r->message);
    write_list(w, "platforms", r->platforms, ' ');
    write_list(w, "groups", r->groups, ' ');
    json_kv_str(w, "fact", r->fact);
    json_kv_str(w, "op", ops[r->op].name);
    if (r->op == POSTURE_IN)
        write_list(w, "value", r->values, '\n');
    else if (f && f->kind == POSTURE_BOOL)
        json_kv_bool(w, "value", strcmp(r->values, "true") == 0);
    else
        json_kv_str(w, "value", r->values);
    json_kv_bool(w, "attested", r->attested);
    json_kv_int(w, "max_age", r->max_age);
    json_kv_str(w, "unknown", r->unknown_fails ? "fail" : "ignore");
    json_kv_int(w, "confirm", r->confirm);
    json_kv_int(w, "grace", r->grace);
    json_kv_int(w, "revoke_after", r->revoke_after);
    json_kv_bool(w, "enforce", r->enforce);
    json_kv_bool(w, "enabled", r->enabled);
}

void posture_rule_write(struct json_w *w, const struct posture_rule *r)
{
    json_open(w);
    json_kv_str(w, "name", r->name);
    posture_rule_members(w, r);
    json_kv_int(w, "rev", r->rev);
    json_kv_time(w, "updated_at", r->updated_at);
    json_close(w);
}

/* --- judging --- */

bool posture_rule_applies(const struct posture_rule *r, struct span platform, struct span groups)
{
    const struct posture_fact *f = posture_fact_find(span_str(r->fact));
    struct span platforms = span_str(r->platforms);
    if (platforms.n == 0 && platform.n > 0 && f)
        platforms = span_str(f->platforms);
    if (platforms.n > 0 && !words_has(platforms, platform))
        return false;
    return !*r->groups || words_meet(span_str(r->groups), groups);
}

bool posture_rule_holds(const struct posture_rule *r, const char *value)
{
    bool valid, same = strcmp(r->values, value) == 0;
    int order = 0;
    struct span rest = span_str(r->values);
    switch (r->op) {
    case POSTURE_EQ:
        return same;
    case POSTURE_NE:
        return !same;
    case POSTURE_IN:
        while (rest.n > 0)
            if (span_eq_str(str_cut(&rest, '\n'), value))
                return true;
        return false;
    case POSTURE_LEAST:
    case POSTURE_BELOW:
        order = version_cmp(span_str(value), span_str(r->values), &valid);
        return valid && (r->op == POSTURE_LEAST ? order >= 0 : order < 0);
    }
    return false;
}
