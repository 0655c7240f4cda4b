/* testudo-signer: the only process that holds the CA's keys. */
#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/signer/audit_log.h"
#include "acme/signer/cadir.h"
#include "acme/signer/init.h"
#include "acme/signer/root_crl.h"
#include "acme/signer/supervise.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/num.h"

#define EXIT_USAGE 2

static const char usage[] =
    "usage: testudo-signer COMMAND --dir DIR [OPTION...]\n"
    "\n"
    "Holds the keys of the certificate authority. testudo starts it; by hand you need `init`.\n"
    "\n"
    "commands\n"
    "  init    makes a CA in DIR: root and issuing CA, P-256. What exists is never touched.\n"
    "            --org NAME        organisation in every certificate\n"
    "            --ocsp-url URL    where clients ask for the status of a certificate\n"
    "            --aia-url URL     where the issuing CA's certificate can be had\n"
    "            --crl-url URL     where CRLs can be had\n"
    "  tls     issues a TLS server certificate (397 days); not while the signer serves DIR\n"
    "            --name NAME,...   DNS names and addresses; the first becomes the common name\n"
    "            --key-out FILE --cert-out FILE   new files, or with --replace\n"
    "  root-crl  writes DIR/root.crl anew; needs root.key\n"
    "            --revoke SERIAL,...   issuing CAs to list, in hexadecimal\n"
    "  audit   checks the chains of hashes in DIR/audit.log and audit-tls.log\n"
    "  serve   answers testudo on an inherited socket; ends when testudo closes it\n"
    "            --fd N            SOCK_SEQPACKET\n"
    "            --user NAME       who to be once the keys are read, when started by root\n"
    "\n"
    "options\n"
    "  --pass-file FILE   the passphrase of the keys, on one line\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 78 (serve) the CA could not be opened.\n";

struct args {
    const char *dir, *pass_file, *org, *ocsp_url, *aia_url, *crl_url, *revoke, *name, *key_out,
        *cert_out, *user;
    const char *fd, *generation;
    bool replace;
};

static int fail(enum td_err e, const struct errinfo *ei)
{
    fprintf(stderr, "testudo-signer: %s\n", err_msg(ei, e));
    return 1;
}

static int misuse(const char *what)
{
    fprintf(stderr, "testudo-signer: %s\nTry testudo-signer --help\n", what);
    return EXIT_USAGE;
}

static int cmd_init(const struct args *a)
{
    struct errinfo ei = {0};
    struct init_opts o = {.dir = a->dir,
                          .pass_file = a->pass_file,
                          .org = a->org,
                          .ocsp_url = a->ocsp_url,
                          .aia_url = a->aia_url,
                          .crl_url = a->crl_url};
    bool made;
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = init_ca(&o, &made, &ei);
    if (e != TD_OK)
        return fail(e, &ei);
    if (made)
        printf("A new CA is in %s. Keep a copy of root.key offline.\n", a->dir);
    else
        printf("%s holds a CA already: root.crt, issuing.key, issuing.crt, ca.ini. "
               "Nothing was touched.\n",
               a->dir);
    return 0;
}

static int cmd_tls(const struct args *a)
{
    struct errinfo ei = {0};
    struct init_tls_opts o = {.dir = a->dir,
                              .pass_file = a->pass_file,
                              .names = a->name,
                              .key_out = a->key_out,
                              .cert_out = a->cert_out,
                              .replace = a->replace};
    if (!a->name || !a->key_out || !a->cert_out)
        return misuse("tls needs --name, --key-out and --cert-out");
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = init_tls(&o, &ei);
    return e == TD_OK ? 0 : fail(e, &ei);
}

static int cmd_root_crl(const struct args *a)
{
    struct errinfo ei = {0};
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = root_crl_make(a->dir, a->pass_file, a->revoke, &ei);
    return e == TD_OK ? 0 : fail(e, &ei);
}

/* Verifies one log and says so; a log that was never begun holds. */
static enum td_err verify_log(const char *dir, enum cadir_file f, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX], hash[2 * SHA256_SIZE + 1];
    uint8_t last[SHA256_SIZE];
    uint64_t lines;
    TD_TRY(cadir_path(dir, f, path, ei));
    if (!fs_exists(path))
        return TD_OK;
    TD_TRY(audit_log_verify(path, &lines, last, ei));
    hex_enc(SPAN_ARR(last), hash);
    printf("%s: %llu lines, the chain holds; last hash %s\n", path, (unsigned long long)lines,
           hash);
    return TD_OK;
}

static int cmd_audit(const struct args *a)
{
    struct errinfo ei = {0};
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK && cadir_look(a->dir) == CADIR_EMPTY)
        e = err_set(&ei, TD_NOTFOUND, "no CA in %.100s", a->dir);
    if (e == TD_OK)
        e = verify_log(a->dir, CADIR_AUDIT, &ei);
    if (e == TD_OK)
        e = verify_log(a->dir, CADIR_AUDIT_TLS, &ei);
    return e == TD_OK ? 0 : fail(e, &ei);
}

static bool serving_opts(const struct args *a, uint64_t first, struct worker_opts *ret)
{
    uint64_t fd, generation = first;
    if (!a->fd || num_u64(span_str(a->fd), 65535, &fd) != TD_OK)
        return false;
    if (a->generation && num_u64(span_str(a->generation), UINT32_MAX, &generation) != TD_OK)
        return false;
    *ret = (struct worker_opts){.dir = a->dir,
                                .pass_file = a->pass_file,
                                .user = a->user,
                                .fd = (int)fd,
                                .generation = (uint32_t)generation};
    return true;
}

static int cmd_serve(const struct args *a)
{
    struct worker_opts o;
    if (!serving_opts(a, 1, &o))
        return misuse("serve needs --fd, the number of an inherited socket");
    return supervise_run(&o);
}

static int cmd_worker(const struct args *a)
{
    struct worker_opts o;
    if (!serving_opts(a, 1, &o))
        return misuse("worker is started by serve");
    return worker_run(&o);
}

static const struct command {
    const char *name;
    int (*fn)(const struct args *);
} commands[] = {
    {"init", cmd_init},   {"tls", cmd_tls},     {"root-crl", cmd_root_crl},
    {"audit", cmd_audit}, {"serve", cmd_serve}, {"worker", cmd_worker},
};

static const struct option options[] = {
    {"dir", required_argument, NULL, 'd'},
    {"pass-file", required_argument, NULL, 'p'},
    {"org", required_argument, NULL, 'o'},
    {"ocsp-url", required_argument, NULL, 's'},
    {"aia-url", required_argument, NULL, 'a'},
    {"crl-url", required_argument, NULL, 'l'},
    {"revoke", required_argument, NULL, 'v'},
    {"name", required_argument, NULL, 'n'},
    {"key-out", required_argument, NULL, 'k'},
    {"cert-out", required_argument, NULL, 'c'},
    {"user", required_argument, NULL, 'u'},
    {"fd", required_argument, NULL, 'f'},
    {"generation", required_argument, NULL, 'g'},
    {"replace", no_argument, NULL, 'r'},
    {0},
};

/* The member an option's letter sets. */
static const char **member(struct args *a, int letter)
{
    const struct {
        int letter;
        const char **at;
    } map[] = {{'d', &a->dir},     {'p', &a->pass_file}, {'o', &a->org},        {'s', &a->ocsp_url},
               {'a', &a->aia_url}, {'n', &a->name},      {'k', &a->key_out},    {'c', &a->cert_out},
               {'u', &a->user},    {'f', &a->fd},        {'g', &a->generation}, {'l', &a->crl_url},
               {'v', &a->revoke}};
    for (size_t i = 0; i < TD_NITEMS(map); i++)
        if (map[i].letter == letter)
            return map[i].at;
    return NULL;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < TD_NITEMS(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

/* 0, or the exit status of a wrong usage. */
static int parse_options(int argc, char **argv, struct args *a)
{
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        const char **at = member(a, c);
        if (c == 'r')
            a->replace = true;
        else if (at)
            *at = optarg;
        else
            return EXIT_USAGE;
    }
    if (optind != argc)
        return misuse("too many arguments");
    return a->dir ? 0 : misuse("--dir is needed");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return misuse("no command");
    if (strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    if (strcmp(argv[1], "--version") == 0)
        return printf("testudo-signer %s\n", TD_VERSION) < 0;
    const struct command *cmd = find_command(argv[1]);
    if (!cmd)
        return misuse("no such command");
    struct args a = {0};
    argv[1] = argv[0]; /* what getopt names in its messages */
    int status = parse_options(argc - 1, argv + 1, &a);
    if (status != 0)
        return status;
    umask(077);
    return cmd->fn(&a);
}
