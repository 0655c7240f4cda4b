#include "web/server/init.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mdm/base/fs.h"
#include "mdm/base/log.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/sealed.h"
#include "web/auth/token.h"
#include "web/server/child.h"
#include "web/server/server.h"

#define OPTIONS_ARENA ((size_t)1024 * 1024)
#define INI_MAX 65536
#define SIGNER_WAITS 3 /* exit status of testudo-signer init */

struct init_opts {
    const char *dir, *host, *token_file, *root;
    char **flags; /* --section-key=value, handed to the configuration */
    int nflags;
};

static int fail(enum td_err e, const struct errinfo *ei)
{
    fprintf(stderr, "testudo init: %s\n", err_msg(ei, e));
    return 1;
}

static bool take(const char *arg, const char *name, const char **ret)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || arg[n] != '=')
        return false;
    *ret = arg + n + 1;
    return true;
}

/* Runs a program that has to succeed. */
static enum td_err run(const char *const *argv, struct errinfo *ei)
{
    int status;
    TD_TRY(child_run(argv, &status, ei));
    return status == 0 ? TD_OK : err_set(ei, TD_IO, "%.100s failed", argv[0]);
}

static enum td_err make_dirs(const struct settings *s, struct arena *a, struct errinfo *ei)
{
    TD_TRY(fs_mkdir(s->data_dir, 0700, ei));
    char *tls = arena_printf(a, "%s/tls", s->data_dir);
    return tls ? fs_mkdir(tls, 0700, ei) : TD_NOMEM;
}

/* The host part of a URL of ours, and its 127.0.0.1 when it is localhost. */
static char *names_of(const struct settings *s, struct arena *a)
{
    const char *host = s->public_url + strlen("https://");
    size_t n = host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":");
    char *name =
        arena_dup(a, span_of(host[0] == '[' ? host + 1 : host, host[0] == '[' ? n - 1 : n));
    if (name && strcmp(name, "localhost") == 0)
        return arena_strdup(a, "localhost,127.0.0.1,::1");
    return name;
}

/* *ret_waits: its issuing certificate is to be imported before there can be more. */
static enum td_err make_ca(const struct settings *s, const char *signer, const char *root,
                           struct arena *a, bool *ret_waits, struct errinfo *ei)
{
    const char *argv[20] = {signer,       "init",
                            "--dir",      s->ca_dir,
                            "--org",      s->organization,
                            "--ocsp-url", arena_printf(a, "%s/ocsp", s->status_url),
                            "--aia-url",  arena_printf(a, "%s/ca/{issuer}.crt", s->status_url),
                            "--crl-url",  arena_printf(a, "%s/crl", s->status_url)};
    size_t n = 12;
    int status;
    if (!argv[7] || !argv[9] || !argv[11])
        return TD_NOMEM;
    if (s->ca_passphrase_file[0]) {
        argv[n++] = "--pass-file";
        argv[n++] = s->ca_passphrase_file;
    }
    if (root) {
        argv[n++] = "--root";
        argv[n++] = root;
    }
    TD_TRY(child_run(argv, &status, ei));
    *ret_waits = status == SIGNER_WAITS;
    return status == 0 || *ret_waits ? TD_OK : err_set(ei, TD_IO, "%.100s failed", signer);
}

/* Issues a server certificate into cert and key, which must not exist. */
static enum td_err make_tls(const struct settings *s, const char *signer, const char *cert,
                            const char *key, struct arena *a, struct errinfo *ei)
{
    const char *argv[16] = {signer,         "tls",       "--dir", s->ca_dir,    "--name",
                            names_of(s, a), "--key-out", key,     "--cert-out", cert};
    if (s->ca_passphrase_file[0]) {
        argv[10] = "--pass-file";
        argv[11] = s->ca_passphrase_file;
    }
    return argv[5] ? run(argv, ei) : TD_NOMEM;
}

static enum td_err write_ini(const struct settings *s, const char *path, struct errinfo *ei)
{
    if (fs_exists(path))
        return TD_OK;
    buf_auto b;
    buf_init(&b, INI_MAX);
    TD_TRY(conf_show(&settings_table, s, true, &b));
    TD_TRY(fs_write(path, buf_view(&b), 0600, false, ei));
    printf("configuration  %s\n", path);
    return TD_OK;
}

static enum td_err count_tokens(struct tx *tx, void *ctx, struct errinfo *ei)
{
    return token_count(tx, ctx, ei);
}

/* The key that seals secrets, and the first administrator's token, printed once: each unless there
 * is one already. */
static enum td_err seal_key_and_token(const struct settings *s, const char *file,
                                      struct errinfo *ei)
{
    struct store *store;
    int64_t n = 0;
    char id[RNG_ID_SIZE], text[TOKEN_TEXT_SIZE] = "";
    seal_auto *seal = NULL;
    TD_TRY(server_open_store(s, STORE_SHARED, &store, ei));
    enum td_err e = sealed_open(store, s->store_seal_key, &clock_system, &seal, ei);
    if (e == TD_OK)
        e = store_read(store, count_tokens, &n, ei);
    if (e == TD_OK && n == 0)
        e = token_create(store, &clock_system, &rng_system, "first administrator", "admin", 0,
                         "testudo init", id, text, ei);
    store_close(store);
    TD_TRY(e);
    if (n > 0)
        printf("token          one exists; testudo token create makes another\n");
    else if (file)
        TD_TRY(fs_write(file, span_str(text), 0600, true, ei));
    if (n == 0)
        printf("token          %s\n", file ? file : text);
    explicit_bzero(text, sizeof text);
    return TD_OK;
}

static enum td_err parse_opts(int argc, char **argv, struct init_opts *o, struct arena *a,
                              struct errinfo *ei)
{
    *o = (struct init_opts){.flags = arena_alloc(a, (size_t)(argc + 6) * sizeof(char *))};
    if (!o->flags)
        return TD_NOMEM;
    for (int i = 0; i < argc; i++) {
        if (take(argv[i], "--dir", &o->dir) || take(argv[i], "--host", &o->host) ||
            take(argv[i], "--token-file", &o->token_file) || take(argv[i], "--root", &o->root))
            continue;
        o->flags[o->nflags++] = argv[i];
    }
    if (!o->dir)
        return err_set(ei, TD_INVAL, "--dir=DIRECTORY is missing");
    return TD_OK;
}

/* What --dir and --host imply goes in front, so that an explicit flag wins. */
static enum td_err imply(struct init_opts *o, struct arena *a, struct errinfo *ei)
{
    char *dir = realpath(o->dir, NULL);
    if (!dir)
        return err_sys(ei, TD_IO, errno, "cannot use %s", o->dir);
    char *implied[] = {
        arena_printf(a, "--server-data-dir=%s", dir),
        o->host ? arena_printf(a, "--server-public-url=https://%s:8443", o->host) : NULL,
        o->host ? arena_printf(a, "--server-device-url=https://%s:8444", o->host) : NULL,
        o->host ? arena_printf(a, "--server-status-url=http://%s:8080", o->host) : NULL,
    };
    free(dir);
    int n = o->host ? 4 : 1;
    for (int i = 0; i < n; i++)
        if (!implied[i])
            return TD_NOMEM;
    memmove(o->flags + n, o->flags, (size_t)o->nflags * sizeof *o->flags);
    memcpy(o->flags, implied, (size_t)n * sizeof *implied);
    o->nflags += n;
    return TD_OK;
}

static enum td_err signer_of(const struct settings *s, struct arena *a, const char **ret,
                             struct errinfo *ei)
{
    char path[4096];
    TD_TRY(server_signer_path(s, path, sizeof path, ei));
    *ret = arena_strdup(a, path);
    return *ret ? TD_OK : TD_NOMEM;
}

static enum td_err init_all(int argc, char **argv, char *const *env, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, OPTIONS_ARENA);
    struct init_opts o;
    struct settings s;
    const char *signer;
    TD_TRY(parse_opts(argc, argv, &o, &a, ei));
    TD_TRY(fs_mkdir(o.dir, 0700, ei));
    TD_TRY(imply(&o, &a, ei));
    char *ini = arena_printf(&a, "%s/testudo.ini", o.dir);
    if (!ini)
        return TD_NOMEM;
    const char *file = fs_exists(ini) ? ini : NULL;
    /* an existing file is the truth; its own values win over what --dir and --host imply */
    TD_TRY(settings_load(file, env, file ? 0 : o.nflags, o.flags, &a, &s, ei));
    TD_TRY(crypt_init(ei));
    TD_TRY(make_dirs(&s, &a, ei));
    TD_TRY(write_ini(&s, ini, ei));
    TD_TRY(signer_of(&s, &a, &signer, ei));
    bool waits;
    TD_TRY(make_ca(&s, signer, o.root, &a, &waits, ei));
    if (waits) {
        printf("then           the same testudo init again, for the rest\n");
        return TD_OK;
    }
    if (!fs_exists(s.tls_cert) && !fs_exists(s.tls_key))
        TD_TRY(make_tls(&s, signer, s.tls_cert, s.tls_key, &a, ei));
    TD_TRY(seal_key_and_token(&s, o.token_file, ei));
    printf("seal key       %s (keep it with your backups)\n", s.store_seal_key);
    printf("root           %s/root.crt\nstart          testudo serve --config=%s\n", s.ca_dir, ini);
    return TD_OK;
}

int init_main(int argc, char **argv, char *const *env)
{
    struct errinfo ei = {0};
    log_setup(LOG_WARN, LOG_FORMAT_LOGFMT, 2);
    enum td_err e = init_all(argc, argv, env, &ei);
    return e == TD_OK ? 0 : fail(e, &ei);
}

int init_tls_renew(const struct settings *s)
{
    struct errinfo ei = {0};
    arena_auto a;
    arena_init(&a, OPTIONS_ARENA);
    const char *signer;
    char *cert = arena_printf(&a, "%s.new", s->tls_cert);
    char *key = arena_printf(&a, "%s.new", s->tls_key);
    if (!cert || !key)
        return fail(TD_NOMEM, NULL);
    (void)unlink(cert); /* of a renewal that did not finish */
    (void)unlink(key);
    enum td_err e = signer_of(s, &a, &signer, &ei);
    if (e == TD_OK)
        e = make_tls(s, signer, cert, key, &a, &ei);
    if (e != TD_OK)
        return fail(e, &ei);
    if (rename(key, s->tls_key) != 0 || rename(cert, s->tls_cert) != 0)
        return fail(err_sys(&ei, TD_IO, errno, "cannot put %s in place", cert), &ei);
    printf("%s renewed; send SIGHUP to testudo\n", s->tls_cert);
    return 0;
}

int init_token(const struct settings *s, const char *name, const char *scopes)
{
    struct errinfo ei = {0};
    struct store *store;
    char id[RNG_ID_SIZE], text[TOKEN_TEXT_SIZE];
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = server_open_store(s, STORE_SHARED, &store, &ei);
    if (e != TD_OK)
        return fail(e, &ei);
    e = token_create(store, &clock_system, &rng_system, name, scopes, 0, "testudo token create", id,
                     text, &ei);
    store_close(store);
    if (e != TD_OK)
        return fail(e, &ei);
    printf("%s\n", text);
    explicit_bzero(text, sizeof text);
    return 0;
}
