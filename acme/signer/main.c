/* testudo-signer: the only process that holds the CA's keys. */
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/signer/auditcheck.h"
#include "acme/signer/cadir.h"
#include "acme/signer/init.h"
#include "acme/signer/module.h"
#include "acme/signer/root_crl.h"
#include "acme/signer/supervise.h"
#include "acme/signer/words.h"
#include "mdm/base/num.h"

#define EXIT_USAGE 2
#define EXIT_WAITING 3
#define OUT_MAX 65536

static const char usage[] =
    "usage: testudo-signer COMMAND --dir DIR [OPTION...]\n"
    "\n"
    "Holds the keys of the certificate authority. testudo starts it; by hand you need `init`.\n"
    "\n"
    "commands\n"
    "  init    makes a CA in DIR: root and issuing CA, P-256. What exists is never touched.\n"
    "            --org NAME        organisation in every certificate\n"
    "            --ocsp-url URL    where clients ask for the status of a certificate\n"
    "            --aia-url URL     where an issuing CA's certificate can be had; {issuer} stands\n"
    "                              for its identifier\n"
    "            --crl-url URL     where CRLs can be had\n"
    "            --root-only       the root alone, on the machine that is offline\n"
    "            --root FILE       below a root that is elsewhere: its certificate\n"
    "            --module FILE --pin-file FILE --issuing-key URI   keys in a PKCS#11 module\n"
    "  tls     issues a TLS server certificate (397 days); not while the signer serves DIR\n"
    "            --name NAME,...   DNS names and addresses; the first becomes the common name\n"
    "            --key-out FILE --cert-out FILE   new files, or with --replace\n"
    "  root-crl  writes DIR/root.crl anew; needs root.key\n"
    "            --revoke SERIAL,...   issuing CAs to list, in hexadecimal\n"
    "  status  what DIR holds, a line each; export: the certificates in PEM\n"
    "  rotate  makes a new issuing CA the active one; needs the root's key\n"
    "            --root-key FILE   in place of DIR/root.key\n"
    "            --standby         it stands by: served, but nothing is issued from it\n"
    "  activate  makes the issuing CA that stands by the active one\n"
    "            --id ID           which one; needed when there are several\n"
    "  csr     prints the request for a new issuing CA, for a root that is elsewhere\n"
    "            --key URI         a key that is in the module already\n"
    "  sign-issuing --in CSR --out FILE   signs such a request, where the root's key is\n"
    "  import --in FILE   makes the signed certificate the active issuing CA; --standby as above\n"
    "  passphrase --new-pass-file FILE   encrypts the keys in files anew\n"
    "  audit   checks DIR/audit.log and audit-tls.log and their checkpoints\n"
    "            --since NUMBER:HASH, or FILE   checkpoints of audit.log kept elsewhere\n"
    "            --pub FILE        the audit key's public half kept elsewhere\n"
    "  serve   answers testudo on an inherited socket; ends when testudo closes it\n"
    "            --fd N            SOCK_SEQPACKET\n"
    "            --user NAME       who to be once the keys are read, when started by root\n"
    "\n"
    "options\n"
    "  --pass-file FILE   the passphrase of the keys, on one line\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 78 (serve) the CA could not be opened.\n";

static int cmd_init(const struct args *a)
{
    struct errinfo ei = {0};
    struct init_opts o = {.dir = a->dir,
                          .pass_file = a->pass_file,
                          .org = a->org,
                          .ocsp_url = a->ocsp_url,
                          .aia_url = a->aia_url,
                          .crl_url = a->crl_url,
                          .root_only = a->root_only,
                          .root_file = a->root,
                          .module = a->module,
                          .pin_file = a->pin_file,
                          .issuing_key = a->issuing_key};
    bool made;
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = init_ca(&o, &made, &ei);
    if (e != TD_OK)
        return words_fail(e, &ei);
    bool waits = cadir_look(a->dir) == CADIR_WAITING;
    if (waits)
        printf("The CA in %s waits for the certificate of its issuing CA: testudo ca export --csr, "
               "have it signed, testudo ca import.\n",
               a->dir);
    else if (made)
        printf("A new CA is in %s. Keep a copy of root.key offline.\n", a->dir);
    else
        printf("%s holds a CA already: root.crt, issuing.key, issuing.crt, ca.ini. "
               "Nothing was touched.\n",
               a->dir);
    return waits ? EXIT_WAITING : 0;
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
        return words_misuse("tls needs --name, --key-out and --cert-out");
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = init_tls(&o, &ei);
    return e == TD_OK ? 0 : words_fail(e, &ei);
}

static int cmd_root_crl(const struct args *a)
{
    struct errinfo ei = {0};
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = root_crl_make(a->dir, a->pass_file, a->revoke, &ei);
    return e == TD_OK ? 0 : words_fail(e, &ei);
}

static int cmd_audit(const struct args *a)
{
    struct errinfo ei = {0};
    const struct auditcheck_opts o = {a->dir, a->since, a->pub};
    buf_auto out;
    buf_init(&out, OUT_MAX);
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK && cadir_look(a->dir) == CADIR_EMPTY)
        e = err_set(&ei, TD_NOTFOUND, "no CA in %.100s", a->dir);
    if (e == TD_OK)
        e = auditcheck_run(&o, &out, &ei);
    fputs(out.n ? buf_cstr(&out) : "", stdout);
    return e == TD_OK ? 0 : words_fail(e, &ei);
}

static bool serving_opts(const struct args *a, uint64_t first, struct worker_opts *ret)
{
    uint64_t fd, generation = first, control = 0;
    if (!a->fd || num_u64(span_str(a->fd), 65535, &fd) != TD_OK)
        return false;
    if (a->generation && num_u64(span_str(a->generation), UINT32_MAX, &generation) != TD_OK)
        return false;
    if (a->control && num_u64(span_str(a->control), 65535, &control) != TD_OK)
        return false;
    *ret = (struct worker_opts){.control = a->control ? (int)control : -1,
                                .takeover = a->takeover,
                                .dir = a->dir,
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
        return words_misuse("serve needs --fd, the number of an inherited socket");
    return supervise_run(&o);
}

static int cmd_worker(const struct args *a)
{
    struct worker_opts o;
    if (!serving_opts(a, 1, &o))
        return words_misuse("worker is started by serve");
    return worker_run(&o);
}

/* Holds a PKCS#11 module for a worker. */
static int cmd_module(const struct args *a)
{
    uint64_t fd;
    if (!a->fd || num_u64(span_str(a->fd), 65535, &fd) != TD_OK || !a->module)
        return words_misuse("module is started by worker");
    const struct hsm_conf c = {a->module, a->pin_file};
    return module_serve(&c, (int)fd);
}

static const struct command {
    const char *name;
    int (*fn)(const struct args *);
} commands[] = {
    {"init", cmd_init},           {"tls", cmd_tls},
    {"root-crl", cmd_root_crl},   {"audit", cmd_audit},
    {"serve", cmd_serve},         {"worker", cmd_worker},
    {"module", cmd_module},       {"status", words_status},
    {"export", words_export},     {"rotate", words_rotate},
    {"csr", words_csr},           {"sign-issuing", words_sign},
    {"import", words_import},     {"passphrase", words_passphrase},
    {"activate", words_activate},
};

/* Options with a value, and the member each sets; its place is the letter getopt returns. */
static const struct {
    const char *name;
    size_t offset;
} values[] = {
#define VALUE(name, member)                                                                        \
    {                                                                                              \
        name, offsetof(struct args, member)                                                        \
    }
    VALUE("dir", dir),
    VALUE("pass-file", pass_file),
    VALUE("org", org),
    VALUE("ocsp-url", ocsp_url),
    VALUE("aia-url", aia_url),
    VALUE("crl-url", crl_url),
    VALUE("revoke", revoke),
    VALUE("name", name),
    VALUE("key-out", key_out),
    VALUE("cert-out", cert_out),
    VALUE("user", user),
    VALUE("fd", fd),
    VALUE("generation", generation),
    VALUE("control", control),
    VALUE("root", root),
    VALUE("root-key", root_key),
    VALUE("key", key_uri),
    VALUE("module", module),
    VALUE("pin-file", pin_file),
    VALUE("issuing-key", issuing_key),
    VALUE("in", in),
    VALUE("out", out),
    VALUE("new-pass-file", new_pass),
    VALUE("since", since),
    VALUE("pub", pub),
    VALUE("id", id),
#undef VALUE
};

static const struct {
    const char *name;
    size_t offset;
} switches[] = {
    {"replace", offsetof(struct args, replace)},
    {"root-only", offsetof(struct args, root_only)},
    {"takeover", offsetof(struct args, takeover)},
    {"standby", offsetof(struct args, standby)},
};

#define FIRST_VALUE 256
#define FIRST_SWITCH (FIRST_VALUE + (int)TD_NITEMS(values))

static void fill_options(struct option *o)
{
    int n = 0;
    for (size_t i = 0; i < TD_NITEMS(values); i++, n++)
        o[n] = (struct option){values[i].name, required_argument, NULL, FIRST_VALUE + n};
    for (size_t i = 0; i < TD_NITEMS(switches); i++, n++)
        o[n] = (struct option){switches[i].name, no_argument, NULL, FIRST_VALUE + n};
    o[n] = (struct option){0};
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
    struct option options[TD_NITEMS(values) + TD_NITEMS(switches) + 1];
    int c;
    fill_options(options);
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c < FIRST_VALUE)
            return EXIT_USAGE;
        if (c < FIRST_SWITCH)
            memcpy((char *)a + values[c - FIRST_VALUE].offset, &optarg, sizeof optarg);
        else
            *(bool *)((char *)a + switches[c - FIRST_SWITCH].offset) = true;
    }
    if (optind != argc)
        return words_misuse("too many arguments");
    return a->dir ? 0 : words_misuse("--dir is needed");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return words_misuse("no command");
    if (strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    if (strcmp(argv[1], "--version") == 0)
        return printf("testudo-signer %s\n", TD_VERSION) < 0;
    const struct command *cmd = find_command(argv[1]);
    if (!cmd)
        return words_misuse("no such command");
    struct args a = {0};
    argv[1] = argv[0]; /* what getopt names in its messages */
    int status = parse_options(argc - 1, argv + 1, &a);
    if (status != 0)
        return status;
    umask(077);
    return cmd->fn(&a);
}
