#include "web/server/ca_words.h"

#include <stdio.h>
#include <stdlib.h>

#include "acme/ca/live.h"
#include "mdm/base/hex.h"
#include "mdm/base/num.h"
#include "mdm/base/str.h"
#include "web/server/child.h"
#include "web/server/server.h"

#define OUT_MAX (1 << 20)
#define ARGS_MAX 16
#define DAY INT64_C(86400)

/* An option of ours, as it is given and as testudo-signer wants it. */
static const struct {
    const char *ours, *theirs;
} options[] = {
    {"--since=", "--since"}, {"--public-key=", "--pub"}, {"--root-key=", "--root-key"},
    {"--key=", "--key"},     {"--standby", "--standby"}, {"--csr", NULL},
};

/* Whether the argument is that option; *ret_value is what stands behind the '=' of one with a
 * value, else NULL. */
static bool is_option(const char *arg, size_t i, const char **ret_value)
{
    size_t n = strlen(options[i].ours);
    bool value = options[i].ours[n - 1] == '=';
    *ret_value = value ? arg + n : NULL;
    return value ? strncmp(arg, options[i].ours, n) == 0 : strcmp(arg, options[i].ours) == 0;
}

static bool own_option(const char *arg)
{
    const char *value;
    for (size_t i = 0; i < TD_NITEMS(options); i++)
        if (is_option(arg, i, &value))
            return true;
    return false;
}

int ca_words_sort(int argc, char **argv)
{
    int n = 0;
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        if (strncmp(arg, "--", 2) == 0 && !own_option(arg))
            continue;
        memmove(argv + n + 1, argv + n, (size_t)(i - n) * sizeof *argv);
        argv[n++] = arg;
    }
    return n;
}

static int fail(enum td_err e, const struct errinfo *ei)
{
    fprintf(stderr, "testudo ca: %s\n", err_msg(ei, e));
    return 1;
}

/* The command line of testudo-signer. */
struct call {
    char signer[4096];
    const char *argv[ARGS_MAX + 1];
    size_t n;
};

static void add(struct call *c, const char *option, const char *value)
{
    if (c->n + 2 > ARGS_MAX)
        return;
    c->argv[c->n++] = option;
    if (value)
        c->argv[c->n++] = value;
}

static enum td_err prepare(const struct settings *s, const char *word, struct call *c,
                           struct errinfo *ei)
{
    *c = (struct call){.n = 0};
    TD_TRY(server_signer_path(s, c->signer, sizeof c->signer, ei));
    add(c, c->signer, word);
    add(c, "--dir", s->ca_dir);
    if (s->ca_passphrase_file[0])
        add(c, "--pass-file", s->ca_passphrase_file);
    return TD_OK;
}

static void add_options(struct call *c, int n, char *const *words)
{
    const char *value;
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < TD_NITEMS(options); k++)
            if (options[k].theirs && is_option(words[i], k, &value))
                add(c, options[k].theirs, value);
}

/* The words that are not options. */
static const char *plain_word(int n, char *const *words, int which)
{
    for (int i = 0; i < n; i++)
        if (strncmp(words[i], "--", 2) != 0 && which-- == 0)
            return words[i];
    return NULL;
}

static bool has(int n, char *const *words, const char *option)
{
    for (int i = 0; i < n; i++)
        if (strcmp(words[i], option) == 0)
            return true;
    return false;
}

/* --- status --- */

/* The value of a word name=value in a line of the signer's; of "subject" the rest of the line. */
static struct span field(struct span line, const char *name)
{
    size_t n = strlen(name);
    while (line.n) {
        bool rest = strcmp(name, "subject") == 0 && span_starts(line, SPAN_LIT("subject="));
        struct span word = rest ? line : str_cut(&line, ' ');
        if (word.n > n && memcmp(word.p, name, n) == 0 && word.p[n] == '=')
            return span_sub(word, n + 1, SIZE_MAX);
        if (rest)
            break;
    }
    return (struct span){NULL, 0};
}

static int64_t number(struct span s)
{
    uint64_t v = 0;
    return num_u64(s, INT64_MAX, &v) == TD_OK ? (int64_t)v : 0;
}

static void put_day(int64_t t, char out[static CLOCK_TEXT_SIZE])
{
    clock_text(t, out);
    out[10] = 0; /* the day alone */
}

/* What is open to be done, collected while the lines are printed. */
struct todo {
    int64_t longest, now;
    enum { TODO_LIVES, TODO_EXPIRED, TODO_EARLY } life;
    bool plain_key, root_key, pending;
    struct span standby; /* its identifier */
    char rotate_by[CLOCK_TEXT_SIZE];
    bool rotate_now;
};

struct live_job {
    const uint8_t *id;
    int64_t now;
    struct ca_live live;
};

static enum td_err live_fn(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct live_job *j = ctx;
    return ca_live_count(tx, j->id, j->now, &j->live, ei);
}

/* How many certificates of an issuing CA still count; without a database nothing. */
static void print_live(struct store *store, struct span hex, const char *state, int64_t now)
{
    uint8_t id[CERT_SKI_SIZE];
    struct errinfo ei = {0};
    char day[CLOCK_TEXT_SIZE];
    struct live_job j = {.id = id, .now = now};
    if (!store || hex_dec(hex, id, sizeof id) != TD_OK)
        return;
    enum td_err e = store_read(store, live_fn, &j, &ei);
    if (e != TD_OK) {
        printf("         certificates unknown: %s\n", err_msg(&ei, e));
        return;
    }
    printf("         %lld live certificates", (long long)j.live.good);
    if (j.live.last > 0) {
        put_day(j.live.last, day);
        printf(", the last of all ends %s", day);
    }
    if (strcmp(state, "retired") == 0 && j.live.last <= now)
        printf("; no device needs it: its files may be moved away");
    printf("\n");
}

static void print_ca(struct span line, struct span what, struct store *store, struct todo *t)
{
    char day[CLOCK_TEXT_SIZE], state[16];
    struct span st = field(line, "state"), key = field(line, "key"), id = field(line, "id");
    struct span subject = field(line, "subject");
    int64_t end = number(field(line, "not_after"));
    put_day(end, day);
    snprintf(state, sizeof state, "%.*s", (int)(st.n < 15 ? st.n : 15), (const char *)st.p);
    printf("%-8.*s %.*s  %-7s until %s  key %.*s\n         %.*s\n", (int)what.n,
           (const char *)what.p, (int)id.n, (const char *)id.p, state, day, (int)key.n,
           (const char *)key.p, (int)subject.n, (const char *)subject.p);
    t->plain_key = t->plain_key || span_eq_str(key, "plain");
    if (span_eq_str(what, "root")) {
        t->root_key = !span_eq_str(key, "absent");
        return;
    }
    if (strcmp(state, "standby") == 0)
        t->standby = id;
    print_live(store, id, state, t->now);
    if (strcmp(state, "retired") != 0) {
        t->life = strcmp(state, "expired") == 0 ? TODO_EXPIRED
                  : strcmp(state, "early") == 0 ? TODO_EARLY
                                                : TODO_LIVES;
        put_day(end - t->longest, t->rotate_by);
        t->rotate_now = end - t->longest < t->now + 30 * DAY;
    }
}

static void print_todo(const struct todo *t)
{
    if (t->standby.n)
        printf("waiting  /ca/%.*s.crt must be there on every node: then testudo ca activate\n",
               (int)t->standby.n, (const char *)t->standby.p);
    const char *word = t->standby.n ? "activate" : "rotate";
    if (t->life == TODO_EXPIRED)
        printf("do now   testudo ca %s: the issuing CA expired, nothing is issued\n", word);
    else if (t->life == TODO_EARLY)
        printf("do now   nothing is issued before the issuing CA begins: is the clock right?\n");
    else if (t->rotate_now)
        printf("do now   testudo ca %s: from %s on certificates would outlive the issuing CA\n",
               word, t->rotate_by);
    else if (t->rotate_by[0])
        printf("later    testudo ca %s before %s\n", word, t->rotate_by);
    if (t->root_key)
        printf("consider root.key is on this machine: keep it offline, see the manual\n");
    if (t->plain_key)
        printf("consider keys are not encrypted: testudo ca passphrase FILE\n");
    if (t->pending)
        printf("waiting  a request is out: testudo ca export --csr shows it, testudo ca import "
               "FILE installs the certificate\n");
}

static void print_lines(struct span text, struct store *store)
{
    struct todo t = {.now = clock_now(&clock_system)};
    struct span all = text;
    while (all.n) {
        struct span line = str_cut(&all, '\n');
        if (span_starts(line, SPAN_LIT("lifetimes ")))
            t.longest = number(field(line, "longest"));
    }
    bool active_seen = false;
    while (text.n) {
        struct span line = str_cut(&text, '\n'), rest = line;
        struct span what = str_cut(&rest, ' ');
        if (span_eq_str(what, "pending"))
            t.pending = true;
        if (!span_eq_str(what, "root") && !span_eq_str(what, "issuing"))
            continue;
        struct todo before = t;
        print_ca(rest, what, store, &t);
        if (active_seen) { /* the first alone says when to rotate */
            t.life = before.life;
            memcpy(t.rotate_by, before.rotate_by, sizeof t.rotate_by);
            t.rotate_now = before.rotate_now;
        }
        active_seen = active_seen || span_eq_str(what, "issuing");
    }
    print_todo(&t);
}

static int word_status(const struct settings *s, int n, char *const *words)
{
    (void)n, (void)words;
    struct errinfo ei = {0};
    struct call c;
    int status = 1;
    buf_auto out;
    buf_init(&out, OUT_MAX);
    enum td_err e = prepare(s, "status", &c, &ei);
    if (e == TD_OK)
        e = child_read(c.argv, &out, &status, &ei);
    if (e != TD_OK || status != 0)
        return e != TD_OK ? fail(e, &ei) : status;
    struct store *store = NULL;
    e = server_open_store(s, STORE_SHARED, &store, &ei);
    if (e != TD_OK)
        fprintf(stderr, "testudo ca: certificates are not counted: %s\n", err_msg(&ei, e));
    print_lines(buf_view(&out), e == TD_OK ? store : NULL);
    if (e == TD_OK)
        store_close(store);
    return 0;
}

/* --- the words that are testudo-signer's alone --- */

static int run_signer(const struct settings *s, const char *word, const char *option,
                      const char *value, int n, char *const *words)
{
    struct errinfo ei = {0};
    struct call c;
    int status = 1;
    enum td_err e = prepare(s, word, &c, &ei);
    if (e == TD_OK && option)
        add(&c, option, value);
    if (e == TD_OK) {
        add_options(&c, n, words);
        e = child_run(c.argv, &status, &ei);
    }
    return e == TD_OK ? status : fail(e, &ei);
}

static int word_rotate(const struct settings *s, int n, char *const *words)
{
    return run_signer(s, "rotate", NULL, NULL, n, words);
}

static int word_activate(const struct settings *s, int n, char *const *words)
{
    const char *id = plain_word(n, words, 0);
    return run_signer(s, "activate", id ? "--id" : NULL, id, n, words);
}

static int word_export(const struct settings *s, int n, char *const *words)
{
    return run_signer(s, has(n, words, "--csr") ? "csr" : "export", NULL, NULL, n, words);
}

static int word_import(const struct settings *s, int n, char *const *words)
{
    return run_signer(s, "import", "--in", plain_word(n, words, 0), n, words);
}

static int word_passphrase(const struct settings *s, int n, char *const *words)
{
    return run_signer(s, "passphrase", "--new-pass-file", plain_word(n, words, 0), n, words);
}

static int word_audit(const struct settings *s, int n, char *const *words)
{
    if (strcmp(plain_word(n, words, 0), "verify") != 0) {
        fputs("testudo: ca audit verify\n", stderr);
        return 2;
    }
    return run_signer(s, "audit", NULL, NULL, n, words);
}

static const struct {
    const char *word;
    int plain, optional; /* words behind it */
    int (*run)(const struct settings *, int, char *const *);
    const char *usage;
} table[] = {
    {"status", 0, 0, word_status, "status"},
    {"rotate", 0, 0, word_rotate, "rotate [--standby] [--root-key=FILE]"},
    {"activate", 0, 1, word_activate, "activate [ID]"},
    {"export", 0, 0, word_export, "export [--csr [--key=URI]]"},
    {"import", 1, 0, word_import, "import [--standby] FILE"},
    {"passphrase", 1, 0, word_passphrase, "passphrase FILE"},
    {"audit", 1, 0, word_audit, "audit verify [--since=CHECKPOINT] [--public-key=FILE]"},
};

int ca_words_run(const struct settings *s, int n, char *const *words)
{
    const char *word = plain_word(n, words, 0);
    int plain = 0;
    while (plain_word(n, words, plain))
        plain++;
    for (size_t i = 0; word && i < TD_NITEMS(table); i++)
        if (strcmp(word, table[i].word) == 0 && plain > table[i].plain &&
            plain <= table[i].plain + table[i].optional + 1)
            return table[i].run(s, n - 1, words + 1);
    for (size_t i = 0; i < TD_NITEMS(table); i++)
        fprintf(stderr, "testudo ca %s\n", table[i].usage);
    return 2;
}
