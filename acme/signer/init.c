#include "acme/signer/init.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/signer/handlog.h"
#include "acme/signer/issue.h"
#include "acme/signer/mint.h"
#include "acme/signer/root_crl.h"
#include "mdm/base/fs.h"

#define NAMES_MAX 32
#define NAMES_TEXT_MAX 4096
#define PEM_MAX 16384
#define ARENA_MAX (1 << 20)

static enum td_err put_file(const char *dir, enum cadir_file f, struct span data, unsigned mode,
                            struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    TD_TRY(cadir_path(dir, f, path, ei));
    return fs_write(path, data, mode, false, ei);
}

static enum td_err put_cert(const char *dir, enum cadir_file f, const struct cert *c,
                            struct errinfo *ei)
{
    buf_auto pem;
    buf_init(&pem, PEM_MAX);
    TD_TRY(cert_to_pem(c, &pem));
    return put_file(dir, f, buf_view(&pem), 0644, ei);
}

/* One CA: key, certificate, both on disk. */
static enum td_err make_ca(const struct init_opts *o, const struct mint *what,
                           const enum cadir_file files[2], const struct secret *pass,
                           const struct cert *issuer, const struct key *issuer_key,
                           struct key **ret_key, struct cert **ret_cert, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    key_auto *key = NULL;
    cert_auto *cert = NULL;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    TD_TRY(key_generate(KEY_P256, &key, ei));
    struct mint m = *what;
    m.org = o->org;
    m.cn = arena_printf(&a, "%s %s", o->org, what->cn);
    m.key = key;
    if (!m.cn)
        return err_set(ei, TD_NOMEM, "no memory");
    TD_TRY(mint_ca(&m, issuer, issuer_key, &cert, ei));
    TD_TRY(cadir_path(o->dir, files[0], path, ei));
    TD_TRY(keyfile_write(path, key, pass, false, ei));
    TD_TRY(put_cert(o->dir, files[1], cert, ei));
    *ret_key = key;
    *ret_cert = cert;
    key = NULL;
    cert = NULL;
    return TD_OK;
}

static enum td_err make_all(const struct init_opts *o, struct span ini, const struct secret *pass,
                            struct errinfo *ei)
{
    static const struct mint root = {.cn = "Root CA", .path_len = 1, .life = MINT_ROOT_LIFE};
    static const struct mint issuing = {
        .cn = "Issuing CA", .path_len = 0, .life = MINT_ISSUING_LIFE};
    static const enum cadir_file files[2][2] = {{CADIR_ROOT_KEY, CADIR_ROOT_CERT},
                                                {CADIR_ISSUING_KEY, CADIR_ISSUING_CERT}};
    key_auto *root_key = NULL, *issuing_key = NULL;
    cert_auto *root_cert = NULL, *issuing_cert = NULL;
    TD_TRY(make_ca(o, &root, files[0], pass, NULL, NULL, &root_key, &root_cert, ei));
    if (!o->root_only)
        TD_TRY(make_ca(o, &issuing, files[1], pass, root_cert, root_key, &issuing_key,
                       &issuing_cert, ei));
    TD_TRY(root_crl_write(o->dir, root_cert, root_key, NULL, ei));
    return put_file(o->dir, CADIR_INI, ini, 0644, ei);
}

/* A CA whose root is elsewhere: its certificate, and a key that waits for one. */
static enum td_err make_below(const struct init_opts *o, struct span ini, const struct secret *pass,
                              struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    key_auto *key = NULL;
    cert_auto *root = NULL;
    buf_auto pem;
    TD_TRY(fs_read(o->root_file, PEM_MAX, &pem, ei));
    TD_TRY(cert_from_pem(buf_view(&pem), &root, ei));
    if (!cert_is_ca(root) || cert_check_issued(root, root, ei) != TD_OK)
        return err_set(ei, TD_CRYPTO, "%.120s is not a root certificate", o->root_file);
    TD_TRY(put_cert(o->dir, CADIR_ROOT_CERT, root, ei));
    TD_TRY(put_file(o->dir, CADIR_INI, ini, 0644, ei));
    if (*o->issuing_key) /* made when the request is asked for */
        return TD_OK;
    TD_TRY(key_generate(KEY_P256, &key, ei));
    TD_TRY(cadir_path(o->dir, CADIR_PENDING_KEY, path, ei));
    return keyfile_write(path, key, pass, false, ei);
}

static enum td_err refuse_part(const char *dir, struct errinfo *ei)
{
    buf_auto have, miss;
    buf_init(&have, 200);
    buf_init(&miss, 200);
    TD_TRY(cadir_list(dir, true, &have));
    TD_TRY(cadir_list(dir, false, &miss));
    return err_set(ei, TD_EXISTS, "part of a CA exists: there %s; missing %s. Nothing was touched.",
                   buf_cstr(&have), buf_cstr(&miss));
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* The configuration of a new CA: the defaults, and what was given. */
static enum td_err fill_conf(struct init_opts *o, struct arena *a, struct cadir_conf *conf,
                             struct errinfo *ei)
{
    TD_TRY(cadir_conf_parse((struct span){NULL, 0}, a, conf, ei));
    if (!o->org)
        o->org = conf->org;
    conf->org = o->org;
    conf->ocsp_url = or_empty(o->ocsp_url);
    conf->aia_url = or_empty(o->aia_url);
    conf->crl_url = or_empty(o->crl_url);
    conf->crl_url = or_empty(o->crl_url);
    conf->module = or_empty(o->module);
    conf->pin_file = or_empty(o->pin_file);
    conf->issuing_key = o->issuing_key = or_empty(o->issuing_key);
    if (*o->issuing_key && !o->root_file)
        return err_set(ei, TD_UNSUPPORTED, "an issuing key in a module needs --root");
    return TD_OK;
}

/* Whether there is something to do. */
static enum td_err judge_state(const struct init_opts *o, bool *ret_make, struct errinfo *ei)
{
    enum cadir_state state = cadir_look(o->dir);
    *ret_make = state == CADIR_EMPTY;
    bool whole =
        state == CADIR_COMPLETE || state == CADIR_WAITING || (state == CADIR_ROOT && o->root_only);
    return *ret_make || whole ? TD_OK : refuse_part(o->dir, ei);
}

enum td_err init_ca(const struct init_opts *given, bool *ret_made, struct errinfo *ei)
{
    struct init_opts o = *given;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct cadir_conf conf;
    bool make;
    *ret_made = false;
    TD_TRY(judge_state(&o, &make, ei));
    if (!make)
        return TD_OK;
    TD_TRY(fill_conf(&o, &a, &conf, ei));
    buf_auto ini;
    buf_init(&ini, PEM_MAX);
    TD_TRY(cadir_conf_text(&conf, &ini, ei));
    secret_auto pass = {NULL, 0};
    TD_TRY(cadir_pass(o.pass_file, &pass, ei));
    TD_TRY(fs_mkdir(o.dir, 0700, ei));
    struct stat st;
    if (stat(o.dir, &st) != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(ei, TD_FORBIDDEN, "%.120s can be written by others: chmod 700 it", o.dir);
    TD_TRY((o.root_file ? make_below : make_all)(&o, buf_view(&ini), &pass, ei));
    *ret_made = true;
    return TD_OK;
}

/* Splits the list in place; NULL-terminated. */
static enum td_err split_names(char *text, const char **out, struct errinfo *ei)
{
    size_t n = 0;
    for (char *p = text; p; n++) {
        if (n == NAMES_MAX)
            return err_set(ei, TD_LIMIT, "more than %d names", NAMES_MAX);
        out[n] = p;
        char *comma = strchr(p, ',');
        if (comma)
            *comma = 0;
        p = comma ? comma + 1 : NULL;
        if (!profile_host_valid(out[n]))
            return err_set(ei, TD_INVAL, "not a host name or address: \"%.80s\"", out[n]);
    }
    out[n] = NULL;
    return TD_OK;
}

/* Signs and records; the PEM texts are made before anything is written. */
static enum td_err make_tls(const struct init_tls_opts *o, const char *const *names,
                            const struct cadir *ca, struct audit_log *audit, struct errinfo *ei)
{
    struct issuer is;
    issuer_init(&is, ca, audit, &clock_system, &rng_system);
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    key_auto *key = NULL;
    cert_auto *leaf = NULL;
    TD_TRY(key_generate(KEY_P256, &key, ei));
    struct profile_subject who = {
        .name = strlen(names[0]) <= 64 ? names[0] : NULL, .dns = names, .public_key = key};
    struct span der;
    TD_TRY(issue_cert(&is, &ca->issuing[0], profile_find(SPAN_LIT("tls-server")), &who,
                      (struct span){NULL, 0}, &a, &der, ei));
    TD_TRY(cert_parse(der, &leaf, ei));
    buf_auto key_pem, chain_pem;
    buf_init(&key_pem, PEM_MAX);
    buf_init(&chain_pem, 2 * PEM_MAX);
    TD_TRY(key_to_pem(key, NULL, &key_pem, ei));
    TD_TRY(cert_to_pem(leaf, &chain_pem));
    TD_TRY(cert_to_pem(ca->issuing[0].cert, &chain_pem));
    TD_TRY(audit_log_flush(audit, ei));
    TD_TRY(fs_write(o->key_out, buf_view(&key_pem), 0600, o->replace, ei));
    return fs_write(o->cert_out, buf_view(&chain_pem), 0644, o->replace, ei);
}

enum td_err init_tls(const struct init_tls_opts *o, struct errinfo *ei)
{
    char text[NAMES_TEXT_MAX], path[CADIR_PATH_MAX];
    const char *names[NAMES_MAX + 1];
    int n = snprintf(text, sizeof text, "%s", o->names);
    if (n < 0 || (size_t)n >= sizeof text)
        return err_set(ei, TD_LIMIT, "the list of names is too long");
    TD_TRY(split_names(text, names, ei));
    if (!o->replace && (fs_exists(o->key_out) || fs_exists(o->cert_out)))
        return err_set(ei, TD_EXISTS, "%.80s or %.80s exists already", o->key_out, o->cert_out);
    cadir_auto ca = {0};
    TD_TRY(cadir_load(o->dir, o->pass_file, &ca, ei));
    TD_TRY(cadir_path(o->dir, CADIR_AUDIT_TLS, path, ei));
    struct audit_log audit;
    TD_TRY(audit_log_open(path, 0, &audit, ei));
    enum td_err e = make_tls(o, names, &ca, &audit, ei);
    if (e == TD_OK)
        e = handlog_sign(path, ca.audit_key, &audit, ei);
    audit_log_close(&audit);
    return e;
}
