#include "acme/signer/init.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/signer/issue.h"
#include "acme/signer/root_crl.h"
#include "mdm/base/fs.h"

#define DAY INT64_C(86400)
#define ROOT_LIFE (20 * 365 * DAY)
#define ISSUING_LIFE (10 * 365 * DAY)
#define CA_BACKDATE DAY
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

struct new_ca {
    const char *cn;
    int path_len;
    int64_t life;
    enum cadir_file key_file, cert_file;
};

/* One CA: key, certificate, both on disk. */
static enum td_err make_ca(const struct init_opts *o, const struct new_ca *n,
                           const struct secret *pass, const struct cert *issuer,
                           const struct key *issuer_key, struct key **ret_key,
                           struct cert **ret_cert, struct errinfo *ei)
{
    key_auto *key = NULL;
    cert_auto *cert = NULL;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    uint8_t serial[PROFILE_SERIAL_SIZE];
    profile_serial(&rng_system, serial);
    int64_t now = clock_now(&clock_system);
    TD_TRY(key_generate(KEY_P256, &key, ei));
    struct x509_spec spec = {
        .serial = SPAN_ARR(serial),
        .cn = arena_printf(&a, "%s %s", o->org, n->cn),
        .o = o->org,
        .not_before = now - CA_BACKDATE,
        .not_after = now + n->life,
        .public_key = key,
        .key_usage = X509_KU_CERT_SIGN | X509_KU_CRL_SIGN,
        .ca = true,
        .path_len = n->path_len,
    };
    struct span der;
    if (!spec.cn)
        return err_set(ei, TD_NOMEM, "no memory");
    TD_TRY(x509_build(&spec, issuer, issuer ? issuer_key : key, &a, &der, ei));
    TD_TRY(cert_parse(der, &cert, ei));
    buf_auto key_pem, cert_pem;
    buf_init(&key_pem, PEM_MAX);
    buf_init(&cert_pem, PEM_MAX);
    TD_TRY(key_to_pem(key, pass->p ? pass : NULL, &key_pem, ei));
    TD_TRY(cert_to_pem(cert, &cert_pem));
    TD_TRY(put_file(o->dir, n->key_file, buf_view(&key_pem), 0600, ei));
    TD_TRY(put_file(o->dir, n->cert_file, buf_view(&cert_pem), 0644, ei));
    *ret_key = key;
    *ret_cert = cert;
    key = NULL;
    cert = NULL;
    return TD_OK;
}

static enum td_err make_all(const struct init_opts *o, struct span ini, const struct secret *pass,
                            struct errinfo *ei)
{
    static const struct new_ca root = {"Root CA", 1, ROOT_LIFE, CADIR_ROOT_KEY, CADIR_ROOT_CERT};
    static const struct new_ca issuing = {"Issuing CA", 0, ISSUING_LIFE, CADIR_ISSUING_KEY,
                                          CADIR_ISSUING_CERT};
    key_auto *root_key = NULL, *issuing_key = NULL;
    cert_auto *root_cert = NULL, *issuing_cert = NULL;
    TD_TRY(make_ca(o, &root, pass, NULL, NULL, &root_key, &root_cert, ei));
    TD_TRY(make_ca(o, &issuing, pass, root_cert, root_key, &issuing_key, &issuing_cert, ei));
    TD_TRY(root_crl_write(o->dir, root_cert, root_key, NULL, ei));
    return put_file(o->dir, CADIR_INI, ini, 0644, ei);
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

enum td_err init_ca(const struct init_opts *given, bool *ret_made, struct errinfo *ei)
{
    struct init_opts o = *given;
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct cadir_conf conf;
    enum cadir_state state = cadir_look(o.dir);
    *ret_made = false;
    if (state == CADIR_COMPLETE)
        return TD_OK;
    if (state == CADIR_PART)
        return refuse_part(o.dir, ei);
    TD_TRY(cadir_conf_parse((struct span){NULL, 0}, &a, &conf, ei)); /* the defaults */
    if (!o.org)
        o.org = conf.org;
    conf.org = o.org;
    conf.ocsp_url = o.ocsp_url ? o.ocsp_url : "";
    conf.aia_url = o.aia_url ? o.aia_url : "";
    conf.crl_url = o.crl_url ? o.crl_url : "";
    buf_auto ini;
    buf_init(&ini, PEM_MAX);
    TD_TRY(cadir_conf_text(&conf, &ini, ei));
    secret_auto pass = {NULL, 0};
    TD_TRY(cadir_pass(o.pass_file, &pass, ei));
    TD_TRY(fs_mkdir(o.dir, 0700, ei));
    struct stat st;
    if (stat(o.dir, &st) != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(ei, TD_FORBIDDEN, "%.120s can be written by others: chmod 700 it", o.dir);
    TD_TRY(make_all(&o, buf_view(&ini), &pass, ei));
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
    audit_log_close(&audit);
    return e;
}
