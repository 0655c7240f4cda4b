/* testudo: one program, a few words. */
#include <signal.h>
#include <unistd.h>

#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "web/server/ca_words.h"
#include "web/server/cert_words.h"
#include "web/server/db_words.h"
#include "web/server/init.h"
#include "web/server/notify.h"
#include "web/server/server.h"

#define SETTINGS_ARENA ((size_t)1024 * 1024)
#define DEFAULT_CONFIG "/etc/testudo/testudo.ini"

struct invocation {
    const char *config; /* file, NULL for none */
    int argc;           /* what is left: --section-key=value */
    char **argv;
    char *const *env;
};

static int fail(enum td_err e, const struct errinfo *ei)
{
    fprintf(stderr, "testudo: %s\n", err_msg(ei, e));
    return 1;
}

static const char *env_value(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return *env + n + 1;
    return NULL;
}

/* Takes --config=FILE out of the arguments; without it TESTUDO_CONFIG, then the default if it is
 * there. */
static void find_config(struct invocation *in)
{
    int kept = 0;
    in->config = env_value(in->env, "TESTUDO_CONFIG");
    for (int i = 0; i < in->argc; i++) {
        if (strncmp(in->argv[i], "--config=", 9) == 0)
            in->config = in->argv[i] + 9;
        else
            in->argv[kept++] = in->argv[i];
    }
    in->argc = kept;
    if (!in->config && access(DEFAULT_CONFIG, R_OK) == 0)
        in->config = DEFAULT_CONFIG;
}

static enum td_err load(struct invocation *in, struct arena *a, struct settings *ret,
                        struct errinfo *ei)
{
    find_config(in);
    TD_TRY(settings_load(in->config, in->env, in->argc, in->argv, a, ret, ei));
    enum log_level level = LOG_INFO;
    TD_TRY(log_level_parse(ret->log_level, &level));
    log_setup(level, strcmp(ret->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT, 2);
    return TD_OK;
}

/* Waits for signals: SIGHUP reloads, SIGTERM and SIGINT end. */
static void wait_for_end(struct server *s, const sigset_t *signals, const char *notify)
{
    for (;;) {
        int sig = sigwaitinfo(signals, NULL);
        if (sig == SIGHUP) {
            struct errinfo ei = {0};
            notify_send(notify, "RELOADING=1");
            enum td_err e = server_reload(s, &ei);
            if (e == TD_OK)
                log_ev(LOG_INFO, "server.reloaded");
            else
                log_ev(LOG_ERROR, "server.reload_failed", KV("error", err_msg(&ei, e)));
            notify_send(notify, "READY=1");
        } else if (sig == SIGTERM || sig == SIGINT) {
            return;
        }
    }
}

/* Loads the configuration behind the first `skip` words and runs fn with both. */
static int with_settings(struct invocation *in, int skip,
                         int (*fn)(const struct invocation *in, const struct settings *conf,
                                   char **words))
{
    struct errinfo ei = {0};
    struct settings conf;
    char **words = in->argv;
    arena_auto a;
    arena_init(&a, SETTINGS_ARENA);
    in->argc -= skip;
    in->argv += skip;
    enum td_err e = load(in, &a, &conf, &ei);
    return e == TD_OK ? fn(in, &conf, words) : fail(e, &ei);
}

static int serve_with(const struct invocation *in, const struct settings *conf, char **words)
{
    (void)words;
    struct errinfo ei = {0};
    struct server *server = NULL;
    const char *notify = env_value(in->env, "NOTIFY_SOCKET");
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    enum td_err e = server_start(conf, &server, &ei);
    if (e != TD_OK)
        return fail(e, &ei);
    log_ev(LOG_INFO, "server.ready", KV("version", TD_VERSION), KV("public", conf->public_url),
           KV("device", conf->device_url), KV("status", conf->status_url));
    notify_send(notify, "READY=1");
    wait_for_end(server, &signals, notify);
    notify_send(notify, "STOPPING=1");
    log_ev(LOG_INFO, "server.stopping");
    server_stop(server);
    log_ev(LOG_INFO, "server.stopped");
    return 0;
}

static int serve(struct invocation *in)
{
    return with_settings(in, 0, serve_with);
}

static int config_check(const struct invocation *in, const struct settings *conf, char **words)
{
    (void)in;
    (void)conf;
    (void)words;
    puts("ok");
    return 0;
}

static int config_show(const struct invocation *in, const struct settings *conf, char **words)
{
    (void)in;
    (void)words;
    buf_auto b;
    buf_init(&b, SETTINGS_ARENA);
    enum td_err e = conf_show(&settings_table, conf, false, &b);
    if (e != TD_OK)
        return fail(e, NULL);
    fputs(buf_cstr(&b), stdout);
    return 0;
}

static int config(struct invocation *in)
{
    const char *what = in->argc > 0 ? in->argv[0] : "";
    if (strcmp(what, "limits") == 0) {
#define LIMIT(name, value, why) printf("%-18s %10d  %s\n", #name, (value), (why));
        LIMITS_TABLE(LIMIT)
#undef LIMIT
        return 0;
    }
    if (strcmp(what, "check") == 0)
        return with_settings(in, 1, config_check);
    if (strcmp(what, "show") == 0)
        return with_settings(in, 1, config_show);
    fprintf(stderr, "testudo: config check, config show or config limits\n");
    return 2;
}

static int tls_renew(const struct invocation *in, const struct settings *conf, char **words)
{
    (void)in;
    (void)words;
    return init_tls_renew(conf);
}

static int tls(struct invocation *in)
{
    if (in->argc > 0 && strcmp(in->argv[0], "renew") == 0)
        return with_settings(in, 1, tls_renew);
    fprintf(stderr, "testudo: tls renew\n");
    return 2;
}

static int token_create_words(const struct invocation *in, const struct settings *conf,
                              char **words)
{
    (void)in;
    return init_token(conf, words[1], words[2]);
}

static int token(struct invocation *in)
{
    if (in->argc > 2 && strcmp(in->argv[0], "create") == 0)
        return with_settings(in, 3, token_create_words);
    fprintf(stderr, "testudo: token create NAME \"SCOPE ...\" [--config=FILE]\n");
    return 2;
}

static int db(struct invocation *in)
{
    struct errinfo ei = {0};
    struct settings conf;
    struct db_words w;
    if (!db_words_parse(&in->argc, in->argv, &w))
        return DB_USAGE;
    arena_auto a;
    arena_init(&a, SETTINGS_ARENA);
    enum td_err e = load(in, &a, &conf, &ei);
    if (e == TD_OK)
        return db_words_run(&conf, &w);
    (void)fail(e, &ei);
    return DB_CANNOT;
}

static int cert_with(const struct invocation *in, const struct settings *conf, char **words)
{
    return cert_words(conf, (int)(in->argv - words), words);
}

static int cert(struct invocation *in)
{
    int n = cert_words_first(in->argc, in->argv);
    return n > 0 ? with_settings(in, n, cert_with) : cert_words(NULL, 0, in->argv);
}

static int ca_with(const struct invocation *in, const struct settings *conf, char **words)
{
    return ca_words_run(conf, (int)(in->argv - words), words);
}

static int ca(struct invocation *in)
{
    return with_settings(in, ca_words_sort(in->argc, in->argv), ca_with);
}

static int init(struct invocation *in)
{
    return init_main(in->argc, in->argv, in->env);
}

static int version(struct invocation *in)
{
    (void)in;
    puts("testudo " TD_VERSION);
    return 0;
}

static const struct {
    const char *word;
    int (*run)(struct invocation *);
    const char *doc;
} words[] = {
    {"serve", serve, "[--config=FILE] [--section-key=value ...]   run the server"},
    {"init", init, "--dir=DIR --host=NAME [--token-file=FILE]    make a CA, keys, a configuration"},
    {"config", config, "check | show | limits   look at the configuration"},
    {"tls", tls, "renew   a fresh server certificate from our CA"},
    {"token", token, "create NAME \"SCOPE ...\"   a further API token"},
    {"db", db, "backup FILE | restore FILE | check | migrate --to URL   look after the database"},
    {"cert", cert, "list | show | revoke | hold | release   certificates and their status"},
    {"ca", ca,
     "status | rotate | activate [ID] | export | import FILE | passphrase FILE | audit verify"},
    {"version", version, "print the version"},
};

static int usage(FILE *to, int status)
{
    fputs("testudo: an Apple MDM server with its own certificate authority\n", to);
    for (size_t i = 0; i < TD_NITEMS(words); i++)
        fprintf(to, "  testudo %-8s %s\n", words[i].word, words[i].doc);
    return status;
}

int main(int argc, char **argv, char **env)
{
    if (argc < 2)
        return usage(stderr, 2);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return usage(stdout, 0);
    struct invocation in = {.argc = argc - 2, .argv = argv + 2, .env = env};
    for (size_t i = 0; i < TD_NITEMS(words); i++)
        if (strcmp(argv[1], words[i].word) == 0)
            return words[i].run(&in);
    fprintf(stderr, "testudo: unknown word '%s'\n", argv[1]);
    return usage(stderr, 2);
}
