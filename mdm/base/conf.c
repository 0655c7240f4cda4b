#include "mdm/base/conf.h"

#include <ini.h>

#include "mdm/base/fs.h"
#include "mdm/base/num.h"
#include "mdm/base/str.h"

#define FILE_SIZE_MAX ((size_t)1 << 20)
#define KEYS_MAX 512

/* One load. `where` names the source of the value being set, for messages. */
struct load {
    const struct conf_table *t;
    struct arena *a;
    void *out;
    struct errinfo *ei;
    const char *where;
    struct span text; /* what the reader has not given to inih yet */
    unsigned line;
    enum td_err err;
    bool seen[KEYS_MAX];
};

static enum td_err set_bool(struct span v, bool *ret)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true}, {"true", true},   {"on", true},   {"1", true},
                 {"no", false}, {"false", false}, {"off", false}, {"0", false}};
    for (size_t i = 0; i < TD_NITEMS(words); i++)
        if (str_ieq(v, span_str(words[i].word))) {
            *ret = words[i].value;
            return TD_OK;
        }
    return TD_PARSE;
}

static enum td_err set_number(const struct conf_key *k, struct span v, int64_t *ret)
{
    bool bounded = k->min != 0 || k->max != 0;
    int64_t min = bounded ? k->min : 0, max = bounded ? k->max : INT64_MAX;
    bool negative = k->type == CONF_INT && min < 0 && v.n > 1 && v.p[0] == '-';
    uint64_t u;
    if (k->type == CONF_DURATION)
        TD_TRY(num_duration(v, INT64_MAX, &u));
    else if (k->type == CONF_SIZE)
        TD_TRY(num_size(v, INT64_MAX, &u));
    else
        TD_TRY(num_u64(negative ? span_sub(v, 1, v.n) : v, INT64_MAX, &u));
    int64_t i = negative ? -(int64_t)u : (int64_t)u;
    if (i < min || i > max)
        return TD_LIMIT;
    *ret = i;
    return TD_OK;
}

/* The word of `choices` that v is, in the arena. */
static enum td_err set_choice(struct arena *a, const char *choices, struct span v, const char **ret)
{
    struct span rest = span_str(choices);
    while (rest.n > 0) {
        struct span word = str_cut(&rest, ' ');
        if (word.n > 0 && span_eq(word, v)) {
            *ret = arena_dup(a, v);
            return *ret ? TD_OK : TD_NOMEM;
        }
    }
    return TD_PARSE;
}

static void *member(void *out, const struct conf_key *k)
{
    return (uint8_t *)out + k->offset;
}

/* A file must be able to hold the value: testudo init writes what flags and environment say, and
 * it would read differently there (" ;" begins a comment, outer spaces go). */
static bool fits_a_line(struct span v)
{
    bool space = true;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '\n' || v.p[i] == '\r' || v.p[i] == 0 || (space && v.p[i] == ';'))
            return false;
        space = v.p[i] == ' ' || (v.p[i] >= '\t' && v.p[i] <= '\r');
    }
    return v.n == 0 || (!space && v.p[0] != ' ' && (v.p[0] < '\t' || v.p[0] > '\r'));
}

static enum td_err set_str(struct arena *a, struct span v, const char **ret)
{
    if (!fits_a_line(v))
        return TD_PARSE;
    const char *s = arena_dup(a, v);
    if (!s)
        return TD_NOMEM;
    *ret = s;
    return TD_OK;
}

/* "must be ..." for a value that was refused. */
static const char *expected(const struct conf_key *k, char *text, size_t n)
{
    static const char *const kinds[] = {[CONF_STR] = "one line without outer spaces and ' ;'",
                                        [CONF_URL] = "an URL on one line",
                                        [CONF_BOOL] = "yes or no",
                                        [CONF_INT] = "a whole number",
                                        [CONF_DURATION] = "a duration such as 90s, 10m, 12h, 30d",
                                        [CONF_SIZE] = "a size such as 64k, 8m, 1g",
                                        [CONF_ENUM] = "one of: "};
    if (k->type == CONF_ENUM)
        snprintf(text, n, "%s%s", kinds[k->type], k->choices ? k->choices : "");
    else if (k->type >= CONF_INT && (k->min != 0 || k->max != 0))
        snprintf(text, n, "%s from %lld to %lld", kinds[k->type], (long long)k->min,
                 (long long)k->max);
    else
        snprintf(text, n, "%s", kinds[k->type]);
    return text;
}

static enum td_err set(struct load *l, const struct conf_key *k, struct span v)
{
    enum td_err e = TD_INTERNAL;
    void *m = member(l->out, k);
    switch (k->type) {
    case CONF_STR:
    case CONF_URL:
        e = set_str(l->a, v, m);
        break;
    case CONF_BOOL:
        e = set_bool(v, m);
        break;
    case CONF_INT:
    case CONF_DURATION:
    case CONF_SIZE:
        e = set_number(k, v, m);
        break;
    case CONF_ENUM:
        e = set_choice(l->a, k->choices, v, m);
        break;
    }
    if (e == TD_NOMEM)
        return err_set(l->ei, e, "%s: no memory for %s.%s", l->where, k->section, k->key);
    char want[100];
    if (e != TD_OK)
        return err_set(l->ei, TD_INVAL, "%s: %s.%s must be %s", l->where, k->section, k->key,
                       expected(k, want, sizeof want));
    return TD_OK;
}

static enum td_err defaults(struct load *l)
{
    if (l->t->n > KEYS_MAX)
        return err_set(l->ei, TD_LIMIT, "more than %d configuration keys", KEYS_MAX);
    l->where = "default";
    for (size_t i = 0; i < l->t->n; i++) {
        const struct conf_key *k = &l->t->keys[i];
        if (k->dflt)
            TD_TRY(set(l, k, span_str(k->dflt)));
        else if (k->type == CONF_STR || k->type == CONF_URL || k->type == CONF_ENUM)
            *(const char **)member(l->out, k) = "";
        else if (k->type == CONF_BOOL)
            *(bool *)member(l->out, k) = false;
        else
            *(int64_t *)member(l->out, k) = 0;
    }
    return TD_OK;
}

static enum td_err fail_at(struct load *l, const char *what, struct span detail)
{
    l->err =
        err_set(l->ei, TD_INVAL, "%s:%u: %s%s%.*s", l->where, l->line, what, detail.n ? " " : "",
                (int)(detail.n < 60 ? detail.n : 60), detail.n ? (const char *)detail.p : "");
    return l->err;
}

/* What inih would let pass or cut silently is refused here. */
static enum td_err check_line(struct load *l, struct span line, size_t max)
{
    struct span none = {NULL, 0}, text = str_trim(line);
    if (line.n > max)
        return fail_at(l, "the line is too long (set the value by its environment variable)", none);
    if (line.n && memchr(line.p, 0, line.n))
        return fail_at(l, "a NUL byte", none);
    if (text.n == 0 || text.p[0] == '#' || text.p[0] == ';')
        return TD_OK;
    if (text.p != line.p)
        return fail_at(l, "the line is indented: a value has one line", none);
    if (text.p[0] == '[' && text.p[text.n - 1] != ']')
        return fail_at(l, "a section line ends with ]:", text);
    return TD_OK;
}

/* Gives inih one line (fgets-like), so that the handler's line number is known. */
static char *next_line(char *str, int num, void *stream)
{
    struct load *l = stream;
    if (l->err != TD_OK || l->text.n == 0 || num < 4)
        return NULL;
    l->line++;
    struct span line = str_cut(&l->text, '\n');
    if (check_line(l, line, (size_t)num - 3) != TD_OK)
        return NULL;
    if (line.n)
        memcpy(str, line.p, line.n);
    str[line.n] = '\n';
    str[line.n + 1] = 0;
    return str;
}

static int handle(void *user, const char *section, const char *name, const char *value)
{
    struct load *l = user;
    if (l->err != TD_OK)
        return 0;
    bool known_section = false;
    for (size_t i = 0; i < l->t->n; i++) {
        const struct conf_key *k = &l->t->keys[i];
        if (strcmp(k->section, section) != 0)
            continue;
        known_section = true;
        if (strcmp(k->key, name) != 0)
            continue;
        if (l->seen[i]) {
            fail_at(l, "given twice:", span_str(name));
            return 0;
        }
        l->seen[i] = true;
        char where[120];
        const char *file = l->where;
        snprintf(where, sizeof where, "%.100s:%u", file, l->line);
        l->where = where;
        l->err = set(l, k, span_str(value));
        l->where = file;
        return l->err == TD_OK;
    }
    fail_at(l, known_section ? "unknown key" : "unknown section",
            span_str(known_section ? name : section));
    return 0;
}

static enum td_err load_text(struct load *l, const char *where, struct span text)
{
    l->where = where;
    l->text = text;
    int rc = ini_parse_stream(next_line, l, handle, l);
    /* the first line that inih itself refused is reported before a later one of ours */
    if (rc > 0 && (l->err == TD_OK || (unsigned)rc < l->line)) {
        l->line = (unsigned)rc;
        fail_at(l, "neither a [section] nor key = value", (struct span){NULL, 0});
    }
    if (rc < 0 && l->err == TD_OK)
        l->err = err_set(l->ei, TD_NOMEM, "%s: no memory", where);
    return l->err;
}

/* Does `given` spell section, `joint`, key, with the case and punctuation of `style`? */
static bool spells(const struct conf_key *k, struct span given, bool env)
{
    char name[160], joint = env ? '_' : '-';
    int n = snprintf(name, sizeof name, "%s%c%s", k->section, joint, k->key);
    if (n < 0 || (size_t)n >= sizeof name || (size_t)n != given.n)
        return false;
    for (size_t i = 0; i < given.n; i++) {
        char c = name[i];
        if (c == '_' || c == '-')
            c = joint;
        else if (env && c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        /* a flag may keep the key's own underscore */
        uint8_t g = !env && given.p[i] == '_' ? (uint8_t)'-' : given.p[i];
        if ((uint8_t)c != g)
            return false;
    }
    return true;
}

static const struct conf_key *find(const struct load *l, struct span given, bool env)
{
    for (size_t i = 0; i < l->t->n; i++)
        if (spells(&l->t->keys[i], given, env))
            return &l->t->keys[i];
    return NULL;
}

/* TESTUDO_<a section of ours>_<no key of ours> is a slip; other TESTUDO_ variables (a container
 * platform sets some by itself) are not ours. */
static bool in_known_section(const struct load *l, struct span given)
{
    for (size_t i = 0; i < l->t->n; i++) {
        size_t n = strlen(l->t->keys[i].section);
        const struct conf_key probe = {.section = l->t->keys[i].section, .key = ""};
        if (given.n > n + 1 && spells(&probe, span_sub(given, 0, n + 1), true))
            return true;
    }
    return false;
}

static enum td_err load_env(struct load *l, char *const *env)
{
    const struct span prefix = SPAN_LIT("TESTUDO_");
    l->where = "environment";
    for (; env && *env; env++) {
        struct span value = span_str(*env);
        if (!span_starts(value, prefix))
            continue;
        struct span name = str_cut(&value, '=');
        struct span given = span_sub(name, prefix.n, name.n);
        const struct conf_key *k = find(l, given, true);
        if (k)
            TD_TRY(set(l, k, value));
        else if (in_known_section(l, given))
            return err_set(l->ei, TD_INVAL, "environment: unknown key %.*s",
                           (int)(name.n < 80 ? name.n : 80), (const char *)name.p);
    }
    return TD_OK;
}

static enum td_err load_flags(struct load *l, int nflags, char *const *flags, int *ret_used)
{
    l->where = "command line";
    int i = 0;
    for (; i < nflags && strncmp(flags[i], "--", 2) == 0; i++) {
        if (flags[i][2] == 0) {
            i++;
            break;
        }
        const char *eq = strchr(flags[i], '=');
        struct span name =
            span_of(flags[i] + 2, eq ? (size_t)(eq - flags[i]) - 2 : strlen(flags[i] + 2));
        const struct conf_key *k = find(l, name, false);
        if (!k || !eq)
            return err_set(l->ei, TD_INVAL, "command line: %s --%.*s%s",
                           k ? "no value for" : "unknown option", (int)(name.n < 80 ? name.n : 80),
                           (const char *)name.p, k ? " (write --section-key=value)" : "");
        TD_TRY(set(l, k, span_str(eq + 1)));
    }
    *ret_used = i;
    return TD_OK;
}

enum td_err conf_load(const struct conf_table *t, const char *file, char *const *env, int nflags,
                      char *const *flags, int *ret_used, struct arena *a, void *out,
                      struct errinfo *ei)
{
    struct load l = {.t = t, .a = a, .out = out, .ei = ei};
    int used = 0;
    TD_TRY(defaults(&l));
    if (file) {
        buf_auto text = {0};
        TD_TRY(fs_read(file, FILE_SIZE_MAX, &text, ei));
        TD_TRY(load_text(&l, file, buf_view(&text)));
    }
    TD_TRY(load_env(&l, env));
    TD_TRY(load_flags(&l, nflags, flags, &used));
    if (ret_used)
        *ret_used = used;
    return TD_OK;
}

enum td_err conf_parse(const struct conf_table *t, struct span text, struct arena *a, void *out,
                       struct errinfo *ei)
{
    struct load l = {.t = t, .a = a, .out = out, .ei = ei};
    TD_TRY(defaults(&l));
    if (text.n > FILE_SIZE_MAX)
        return err_set(ei, TD_LIMIT, "config: more than %zu bytes", FILE_SIZE_MAX);
    return load_text(&l, "config", text);
}

/* scheme://user:PASSWORD@host becomes scheme://user:***@host. */
static void show_url(const char *key, const char *text, struct buf *b)
{
    const char *slashes = strstr(text, "://"), *host = slashes ? slashes + 3 : text;
    size_t login = strcspn(host, "@/?#"), user = strcspn(host, ":@/?#");
    if (strstr(text, "password="))
        buf_printf(b, "# %s = (set)\n", key);
    else if (slashes && host[login] == '@' && user < login)
        buf_printf(b, "%s = %.*s:***%s\n", key, (int)(host + user - text), text, host + login);
    else
        buf_printf(b, "%s = %s\n", key, text);
}

static void show_value(const struct conf_key *k, const void *conf, bool secrets, struct buf *b)
{
    const void *m = (const uint8_t *)conf + k->offset;
    const char *text = NULL;
    if (k->type == CONF_STR || k->type == CONF_URL || k->type == CONF_ENUM)
        text = *(const char *const *)m;
    if (k->secret && !secrets && (!text || *text))
        buf_printf(b, "# %s = (set)\n", k->key);
    else if (k->type == CONF_URL && !secrets)
        show_url(k->key, text, b);
    else if (text)
        buf_printf(b, "%s = %s\n", k->key, text);
    else if (k->type == CONF_BOOL)
        buf_printf(b, "%s = %s\n", k->key, *(const bool *)m ? "yes" : "no");
    else
        buf_printf(b, "%s = %lld\n", k->key, (long long)*(const int64_t *)m);
}

enum td_err conf_show(const struct conf_table *t, const void *conf, bool secrets, struct buf *b)
{
    const char *section = NULL;
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_key *k = &t->keys[i];
        if (!section || strcmp(section, k->section) != 0)
            buf_printf(b, "%s[%s]\n", section ? "\n" : "", k->section);
        section = k->section;
        if (k->doc)
            buf_printf(b, "# %s\n", k->doc);
        show_value(k, conf, secrets, b);
    }
    return b->err;
}
