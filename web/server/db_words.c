#include "web/server/db_words.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "mdm/base/clock.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/backup.h"
#include "mdm/store/check.h"

#define FINDINGS_MAX 20
#define ARENA_MAX 65536

/* --- words ----------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    bool file, to, force, snapshot;
    const char *doc;
} forms[] = {
    {"backup", true, false, true, false, "db backup FILE [--force]"},
    {"restore", true, false, true, false, "db restore FILE [--force]"},
    {"check", false, false, false, false, "db check"},
    {"migrate", false, true, false, true, "db migrate --to URL [--snapshot]"},
};

static bool usage(void)
{
    for (size_t i = 0; i < TD_NITEMS(forms); i++)
        fprintf(stderr, "testudo: %s [--config=FILE]\n", forms[i].doc);
    return false;
}

/* Takes what is ours out of the arguments; the configuration's flags stay. */
static bool take_words(int *argc, char **argv, struct db_words *w)
{
    int kept = 0;
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--force") == 0)
            w->force = true;
        else if (strcmp(argv[i], "--snapshot") == 0)
            w->snapshot = true;
        else if (strncmp(argv[i], "--to=", 5) == 0)
            w->to = argv[i] + 5;
        else if (strcmp(argv[i], "--to") == 0 && i + 1 < *argc)
            w->to = argv[++i];
        else if (strncmp(argv[i], "--", 2) == 0)
            argv[kept++] = argv[i];
        else if (!w->file)
            w->file = argv[i];
        else
            return false;
    }
    *argc = kept;
    return true;
}

bool db_words_parse(int *argc, char **argv, struct db_words *ret)
{
    struct db_words w = {.word = *argc > 0 ? argv[0] : ""};
    size_t i = 0;
    while (i < TD_NITEMS(forms) && strcmp(forms[i].word, w.word) != 0)
        i++;
    if (i == TD_NITEMS(forms) || !take_words(argc, argv, &w))
        return usage();
    if (forms[i].file != (w.file != NULL) || forms[i].to != (w.to != NULL) ||
        (w.force && !forms[i].force) || (w.snapshot && !forms[i].snapshot)) {
        fprintf(stderr, "testudo: %s [--config=FILE]\n", forms[i].doc);
        return false;
    }
    *ret = w;
    return true;
}

/* --- progress -------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

/* On a terminal a line that changes in place, elsewhere a line for each thing that is done. */
struct show {
    bool terminal;
    const char *table;
    struct timespec began, shown;
    int64_t from; /* rows that were there when the table began */
};

static double since(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) + (double)(now.tv_nsec - t->tv_nsec) / 1e9;
}

static void clear_line(const struct show *s)
{
    if (s->terminal)
        fputs("\r\033[K", stdout);
}

static void show_moving(struct show *s, const struct store_step *step)
{
    if (!s->terminal || since(&s->shown) < 0.1)
        return;
    clock_gettime(CLOCK_MONOTONIC, &s->shown);
    double seconds = since(&s->began);
    int64_t rate = seconds > 0.2 ? (int64_t)((double)(step->done - s->from) / seconds) : 0;
    clear_line(s);
    if (step->phase == STORE_PAGES)
        printf("%lld of %lld pages", (long long)step->done, (long long)step->total);
    else
        printf("%s %-20s %lld of %lld rows, %lld a second",
               step->phase == STORE_COPYING ? "copying" : "comparing", step->table,
               (long long)step->done, (long long)step->total, (long long)rate);
    fflush(stdout);
}

static void show_done(const struct show *s, const struct store_step *step)
{
    clear_line(s);
    switch (step->phase) {
    case STORE_COPIED:
        printf("copied    %-20s %lld rows\n", step->table, (long long)step->done);
        break;
    case STORE_CHANGED:
        printf("changed   %-20s the source is not what it was in the run before: once more\n",
               step->table);
        break;
    case STORE_SAME:
        printf("the same  %-20s %lld rows, sha256 %s\n", step->table, (long long)step->done,
               step->digest);
        break;
    case STORE_PAGES:
    case STORE_COPYING:
    case STORE_CHECKING:
        break;
    }
    fflush(stdout);
}

static bool show_step(void *ctx, const struct store_step *step)
{
    struct show *s = ctx;
    if (step->table != s->table || step->done == 0) {
        s->table = step->table;
        s->from = step->done;
        clock_gettime(CLOCK_MONOTONIC, &s->began);
    }
    if (step->phase == STORE_PAGES || step->phase == STORE_COPYING || step->phase == STORE_CHECKING)
        show_moving(s, step);
    else
        show_done(s, step);
    return !stop;
}

static int status_of(const struct show *s, enum td_err e, const struct errinfo *ei)
{
    clear_line(s);
    if (e == TD_OK)
        return DB_FINE;
    fprintf(stderr, "testudo: %s\n", err_msg(ei, e));
    return e == TD_CONFLICT ? DB_FOUND : DB_CANNOT;
}

/* --- what the words do ----------------------------------------------------------------------- */

static int backup(const struct store_conf *conf, const struct db_words *w, struct show *s)
{
    struct errinfo ei = {0};
    const struct store_progress p = {show_step, s};
    enum td_err e = store_backup(conf, w->file, w->force, &p, &ei);
    int status = status_of(s, e, &ei);
    if (e == TD_EXISTS)
        fprintf(stderr, "testudo: --force replaces it\n");
    if (e == TD_OK)
        printf("%s is whole and checked\n", w->file);
    return status;
}

static int restore(const struct store_conf *conf, const struct db_words *w, struct show *s)
{
    struct errinfo ei = {0};
    const struct store_progress p = {show_step, s};
    const char *kept = NULL;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    enum td_err e = store_restore(conf, w->file, w->force, &p, &a, &kept, &ei);
    int status = status_of(s, e, &ei);
    if (e == TD_EXISTS)
        fprintf(stderr, "testudo: --force keeps it under another name and goes on\n");
    if (kept)
        printf("the database that was there is %s\n", kept);
    if (e == TD_OK)
        printf("%s is restored\n", w->file);
    return status;
}

static void show_finding(void *ctx, const struct check_finding *f)
{
    (void)ctx;
    if (f->more)
        printf("%s: and more\n", f->rule);
    else
        printf("%s: %s (%s)\n", f->rule, f->what, f->doc);
}

static void show_note(void *ctx, const char *what)
{
    (void)ctx;
    printf("the inside of indexes was not looked at: %s\n", what);
}

static int check(const struct store_conf *conf, const struct db_words *w, struct show *s)
{
    (void)w;
    struct errinfo ei = {0};
    const struct check_conf c = {FINDINGS_MAX, show_finding, show_note, NULL};
    size_t rules = 0, findings = 0;
    enum td_err e = store_check(conf, &c, &rules, &findings, &ei);
    int status = status_of(s, e, &ei);
    if (e == TD_OK)
        printf("%zu rules, %s\n", rules, findings ? "not all of them hold" : "all of them hold");
    return e == TD_OK && findings ? DB_FOUND : status;
}

static int migrate(const struct store_conf *conf, const struct db_words *w, struct show *s)
{
    struct errinfo ei = {0};
    const struct store_progress p = {show_step, s};
    struct store_conf from = *conf, to = *conf;
    /* what is written behind the snapshot would be missing in the new database */
    from.use = w->snapshot ? STORE_NOLOCK : STORE_ALONE;
    to.use = STORE_ALONE;
    to.url = w->to;
    enum td_err e = store_copy(&from, &to, &p, &ei);
    int status = status_of(s, e, &ei);
    if (e == TD_OK)
        printf("every table is the same on both sides; now change [store] url\n");
    return status;
}

static const struct {
    const char *word;
    int (*fn)(const struct store_conf *conf, const struct db_words *w, struct show *s);
} doers[] = {{"backup", backup}, {"restore", restore}, {"check", check}, {"migrate", migrate}};

int db_words_run(const struct settings *s, const struct db_words *w)
{
    const struct store_conf conf = {
        .url = s->store_url, .readers = 1, .sync_full = true, .clock = &clock_system};
    struct show show = {.terminal = isatty(STDOUT_FILENO) == 1};
    const struct sigaction act = {.sa_handler = on_signal};
    struct errinfo ei = {0};
    enum td_err e = crypt_init(&ei);
    if (e != TD_OK)
        return status_of(&show, e, &ei);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    for (size_t i = 0; i < TD_NITEMS(doers); i++)
        if (strcmp(doers[i].word, w->word) == 0)
            return doers[i].fn(&conf, w, &show);
    return DB_USAGE;
}
