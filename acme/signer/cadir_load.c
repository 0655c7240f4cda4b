/* Reading a CA directory: certificates, keys, and whether they belong together. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "acme/signer/cadir.h"
#include "acme/signer/checkpoint.h"
#include "acme/signer/proto/issuer_life.h"
#include "mdm/base/clock.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"

#define CERT_FILE_MAX 16384
#define INI_FILE_MAX 16384
#define CRL_FILE_MAX 16384
#define OLDER "issuing-" /* what the files of a named issuing CA begin with */

static enum td_err path_of(const char *dir, const char *name, char out[static CADIR_PATH_MAX],
                           struct errinfo *ei)
{
    int n = snprintf(out, CADIR_PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= CADIR_PATH_MAX)
        return err_set(ei, TD_LIMIT, "the path of the CA directory is too long");
    return TD_OK;
}

enum td_err cadir_issuing_path(const char *dir, const uint8_t id[static CERT_SKI_SIZE],
                               const char *ending, char out[static CADIR_PATH_MAX],
                               struct errinfo *ei)
{
    char name[CADIR_NAME_MAX], hex[2 * CERT_SKI_SIZE + 1];
    hex_enc(span_of(id, CERT_SKI_SIZE), hex);
    snprintf(name, sizeof name, OLDER "%s.%s", hex, ending);
    return path_of(dir, name, out, ei);
}

enum td_err cadir_read_cert(const char *dir, const char *name, struct cert **ret,
                            struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    buf_auto b;
    buf_init(&b, CERT_FILE_MAX);
    TD_TRY(path_of(dir, name, path, ei));
    TD_TRY(fs_read(path, CERT_FILE_MAX, &b, ei));
    return cert_from_pem(buf_view(&b), ret, ei);
}

enum td_err cadir_key_path(const char *dir, const uint8_t id[static CERT_SKI_SIZE],
                           char out[static CADIR_PATH_MAX], struct errinfo *ei)
{
    TD_TRY(cadir_issuing_path(dir, id, "key", out, ei));
    return fs_exists(out) ? TD_OK : cadir_path(dir, CADIR_ISSUING_KEY, out, ei);
}

static enum td_err find_key(const char *dir, struct cadir_issuing *is,
                            const struct keyfile_access *by, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    TD_TRY(cadir_key_path(dir, is->id, path, ei));
    TD_TRY(keyfile_read(path, by, &is->key, ei));
    if (!key_equal(cert_key(is->cert), is->key))
        return err_set(ei, TD_CRYPTO, "%.100s is not the key of the issuing CA %s", path, is->hex);
    return TD_OK;
}

enum td_err cadir_access_open(const struct cadir_conf *c, const char *pass_file,
                              struct cadir_access *ret, struct errinfo *ei)
{
    *ret = (struct cadir_access){0};
    TD_TRY(cadir_pass(pass_file, &ret->pass, ei));
    if (!*c->module)
        return TD_OK;
    const struct hsm_conf h = {c->module, c->pin_file};
    enum td_err e = hsm_start(&h, &ret->hsm, ei);
    if (e != TD_OK)
        cadir_access_close(ret);
    return e;
}

void cadir_access_close(struct cadir_access *by)
{
    secret_free(&by->pass);
    hsm_stop(by->hsm);
    *by = (struct cadir_access){0};
}

struct keyfile_access cadir_access_view(const struct cadir_access *by)
{
    return (struct keyfile_access){&by->pass, by->hsm};
}

/* Takes the certificate into the list (also on error: cadir_free has it then). */
static enum td_err add_issuing(struct cadir *c, const char *name, struct cert *take,
                               struct errinfo *ei)
{
    if (c->n == CADIR_ISSUING_MAX) {
        cert_free(take);
        return err_set(ei, TD_LIMIT, "more than %d issuing CAs", CADIR_ISSUING_MAX);
    }
    struct cadir_issuing *is = &c->issuing[c->n++];
    is->cert = take;
    if (!cert_is_ca(take))
        return err_set(ei, TD_CRYPTO, "%s is not a CA certificate", name);
    if (!cert_ski(take, is->id))
        return err_set(ei, TD_CRYPTO, "%s has no subject key identifier of 20 octets", name);
    hex_enc(SPAN_ARR(is->id), is->hex);
    return cert_check_issued(take, c->root, ei);
}

static bool listed(const struct cadir *c, const struct cert *x)
{
    for (size_t i = 0; i < c->n; i++)
        if (span_eq(cert_der(c->issuing[i].cert), cert_der(x)))
            return true;
    return false;
}

/* "issuing-ID" and the ending. */
static bool named(const char *name, const char *ending)
{
    uint8_t id[CERT_SKI_SIZE];
    struct span s = span_str(name);
    size_t n = strlen(OLDER), hex = 2 * CERT_SKI_SIZE;
    return s.n == n + hex + strlen(ending) && strncmp(name, OLDER, n) == 0 &&
           hex_dec(span_sub(s, n, hex), id, sizeof id) == TD_OK &&
           strcmp(name + n + hex, ending) == 0;
}

enum td_err cadir_each(const char *dir, const char *ending, cadir_each_fn fn, void *ctx,
                       struct errinfo *ei)
{
    DIR *d = opendir(dir);
    if (!d)
        return err_sys(ei, TD_IO, errno, "cannot list %.100s", dir);
    enum td_err e = TD_OK;
    for (struct dirent *f; e == TD_OK && (f = readdir(d)) != NULL;)
        if (named(f->d_name, ending))
            e = fn(ctx, f->d_name, ei);
    closedir(d);
    return e;
}

bool cadir_stands_by(const char *dir, const char *name, const struct cert *active)
{
    uint8_t id[CERT_SKI_SIZE], other[CERT_SKI_SIZE];
    char path[CADIR_PATH_MAX];
    if (!named(name, CADIR_STANDBY) ||
        hex_dec(span_of(name + strlen(OLDER), 2 * sizeof id), id, sizeof id) != TD_OK)
        return false;
    if (active && cert_ski(active, other) && memcmp(id, other, sizeof id) == 0)
        return false;
    return cadir_issuing_path(dir, id, "crt", path, NULL) == TD_OK && !fs_exists(path);
}

struct older {
    struct cadir *c;
    const char *dir;
    int64_t now;
};

static enum td_err add_older(void *ctx, const char *name, struct errinfo *ei)
{
    struct older *o = ctx;
    struct cert *x = NULL;
    TD_TRY(cadir_read_cert(o->dir, name, &x, ei));
    bool over = cert_not_after(x) <= o->now - ISSUER_KEPT; /* so is every certificate of its */
    if (over || listed(o->c, x)) {
        cert_free(x);
        return TD_OK;
    }
    return add_issuing(o->c, name, x, ei);
}

static enum td_err add_standby(void *ctx, const char *name, struct errinfo *ei)
{
    const struct older *o = ctx;
    bool counts = cadir_stands_by(o->dir, name, o->c->issuing[0].cert);
    return counts ? add_older(ctx, name, ei) : TD_OK;
}

static int newest_first(const void *a, const void *b)
{
    const struct cadir_issuing *x = a, *y = b;
    int64_t tx = cert_not_before(x->cert), ty = cert_not_before(y->cert);
    return tx != ty ? (tx < ty) - (tx > ty) : strcmp(x->hex, y->hex);
}

/* The active one, then those that rotation left and those that stand by. */
static enum td_err read_issuing(struct cadir *c, const char *dir, struct errinfo *ei)
{
    struct cert *active = NULL;
    TD_TRY(cadir_read_cert(dir, cadir_name(CADIR_ISSUING_CERT), &active, ei));
    TD_TRY(add_issuing(c, cadir_name(CADIR_ISSUING_CERT), active, ei));
    struct older o = {c, dir, clock_now(&clock_system)};
    enum td_err e = cadir_each(dir, ".crt", add_older, &o, ei);
    if (e == TD_OK)
        e = cadir_each(dir, CADIR_STANDBY, add_standby, &o, ei);
    if (e == TD_OK)
        qsort(c->issuing + 1, c->n - 1, sizeof c->issuing[0], newest_first);
    return e;
}

/* Made where the root's key is (root_crl.h), read here. */
static enum td_err read_root_crl(struct cadir *c, const char *dir, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    buf_auto b;
    buf_init(&b, CRL_FILE_MAX);
    TD_TRY(cadir_path(dir, CADIR_ROOT_CRL, path, ei));
    if (!fs_exists(path))
        return TD_OK;
    TD_TRY(fs_read(path, CRL_FILE_MAX, &b, ei));
    c->root_crl = arena_span(&c->arena, buf_view(&b));
    return c->root_crl.p ? TD_OK : err_set(ei, TD_NOMEM, "no memory for root.crl");
}

enum td_err cadir_read_conf(const char *dir, struct arena *a, struct cadir_conf *ret,
                            struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    buf_auto ini;
    buf_init(&ini, INI_FILE_MAX);
    TD_TRY(cadir_path(dir, CADIR_INI, path, ei));
    TD_TRY(fs_read(path, INI_FILE_MAX, &ini, ei));
    return cadir_conf_parse(buf_view(&ini), a, ret, ei);
}

static enum td_err read_all(struct cadir *c, const char *dir, const char *pass_file,
                            struct errinfo *ei)
{
    TD_TRY(cadir_read_conf(dir, &c->arena, &c->conf, ei));
    TD_TRY(cadir_read_cert(dir, cadir_name(CADIR_ROOT_CERT), &c->root, ei));
    if (!cert_is_ca(c->root))
        return err_set(ei, TD_CRYPTO, "root.crt is not a CA certificate");
    TD_TRY(read_root_crl(c, dir, ei));
    TD_TRY(read_issuing(c, dir, ei));
    TD_TRY(profile_set_load(dir, &c->profiles, ei));
    TD_TRY(cadir_access_open(&c->conf, pass_file, &c->access, ei));
    const struct keyfile_access by = cadir_access_view(&c->access);
    for (size_t i = 0; i < c->n; i++)
        TD_TRY(find_key(dir, &c->issuing[i], &by, ei));
    TD_TRY(checkpoint_key(dir, &c->access.pass, &c->audit_key, ei));
    secret_free(&c->access.pass);
    return TD_OK;
}

enum td_err cadir_load(const char *dir, const char *pass_file, struct cadir *ret,
                       struct errinfo *ei)
{
    *ret = (struct cadir){0};
    enum cadir_state state = cadir_look(dir);
    if (state == CADIR_WAITING)
        return err_set(ei, TD_STATE, "the CA in %.80s waits for its certificate: testudo ca import",
                       dir);
    if (state != CADIR_COMPLETE)
        return err_set(ei, TD_NOTFOUND, "%.120s holds no complete CA: testudo-signer init", dir);
    arena_init(&ret->arena, 4 * INI_FILE_MAX);
    enum td_err e = read_all(ret, dir, pass_file, ei);
    if (e != TD_OK)
        cadir_free(ret);
    return e;
}

const struct cadir_issuing *cadir_find(const struct cadir *c,
                                       const uint8_t id[static CERT_SKI_SIZE])
{
    for (size_t i = 0; i < c->n; i++)
        if (memcmp(c->issuing[i].id, id, CERT_SKI_SIZE) == 0)
            return &c->issuing[i];
    return NULL;
}

void cadir_free(struct cadir *c)
{
    cert_free(c->root);
    for (size_t i = 0; i < c->n; i++) {
        cert_free(c->issuing[i].cert);
        key_free(c->issuing[i].key);
    }
    profile_set_free(&c->profiles);
    key_free(c->audit_key);
    cadir_access_close(&c->access);
    arena_free(&c->arena);
    *c = (struct cadir){0};
}
