#include "acme/signer/words.h"

#include <stdio.h>

#include "acme/signer/passwd.h"
#include "acme/signer/report.h"
#include "acme/signer/rotate.h"

#define OUT_MAX (1 << 20)
#define HEX_SIZE (2 * CERT_SKI_SIZE + 1)

int words_fail(enum td_err e, const struct errinfo *ei)
{
    fprintf(stderr, "testudo-signer: %s\n", err_msg(ei, e));
    return 1;
}

int words_misuse(const char *what)
{
    fprintf(stderr, "testudo-signer: %s\nTry testudo-signer --help\n", what);
    return 2;
}

static struct rotate_opts opts_of(const struct args *a)
{
    return (struct rotate_opts){a->dir, a->pass_file, a->root_key, a->key_uri, a->standby};
}

static int show(enum td_err (*fn)(const char *, struct buf *, struct errinfo *),
                const struct args *a)
{
    struct errinfo ei = {0};
    buf_auto b;
    buf_init(&b, OUT_MAX);
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = fn(a->dir, &b, &ei);
    if (e != TD_OK)
        return words_fail(e, &ei);
    return fputs(buf_cstr(&b), stdout) < 0;
}

int words_status(const struct args *a)
{
    return show(report_status, a);
}

int words_export(const struct args *a)
{
    return show(report_chain, a);
}

static int say_done(enum td_err e, bool standby, const char *hex, const struct errinfo *ei)
{
    if (e != TD_OK)
        return words_fail(e, ei);
    if (standby)
        return printf("The issuing CA %s stands by. Copy issuing-%s.* to the other nodes, send "
                      "SIGHUP to testudo on each, then testudo ca activate on each.\n",
                      hex, hex) < 0;
    return printf("The issuing CA is now %s. Send SIGHUP to testudo.\n", hex) < 0;
}

int words_rotate(const struct args *a)
{
    struct errinfo ei = {0};
    char hex[HEX_SIZE];
    const struct rotate_opts o = opts_of(a);
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = rotate_ca(&o, hex, &ei);
    return say_done(e, a->standby, hex, &ei);
}

int words_activate(const struct args *a)
{
    struct errinfo ei = {0};
    char hex[HEX_SIZE];
    const struct rotate_opts o = opts_of(a);
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = rotate_activate(&o, a->id, hex, &ei);
    return say_done(e, false, hex, &ei);
}

int words_csr(const struct args *a)
{
    struct errinfo ei = {0};
    buf_auto b;
    buf_init(&b, OUT_MAX);
    const struct rotate_opts o = opts_of(a);
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = rotate_csr(&o, &b, &ei);
    if (e != TD_OK)
        return words_fail(e, &ei);
    return fputs(buf_cstr(&b), stdout) < 0;
}

int words_sign(const struct args *a)
{
    struct errinfo ei = {0};
    const struct rotate_opts o = opts_of(a);
    if (!a->in || !a->out)
        return words_misuse("sign-issuing needs --in and --out");
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = rotate_sign(&o, a->in, a->out, &ei);
    return e == TD_OK ? 0 : words_fail(e, &ei);
}

int words_import(const struct args *a)
{
    struct errinfo ei = {0};
    char hex[HEX_SIZE];
    const struct rotate_opts o = opts_of(a);
    if (!a->in)
        return words_misuse("import needs --in");
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = rotate_import(&o, a->in, hex, &ei);
    return say_done(e, a->standby, hex, &ei);
}

int words_passphrase(const struct args *a)
{
    struct errinfo ei = {0};
    unsigned n = 0;
    if (!a->new_pass)
        return words_misuse("passphrase needs --new-pass-file");
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = passwd_change(a->dir, a->pass_file, a->new_pass, &n, &ei);
    if (e != TD_OK)
        return words_fail(e, &ei);
    return printf("%u keys are encrypted under the passphrase in %s.\n", n, a->new_pass) < 0;
}
