#include "acme/signer/rotate.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "acme/signer/handlog.h"
#include "acme/signer/mint.h"
#include "mdm/base/clock.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"

#define PEM_MAX 65536
#define ARENA_MAX (1 << 20)

/* An open CA directory that is about to change. */
struct change {
    const struct rotate_opts *o;
    struct arena arena;
    struct cadir_conf conf;
    struct cadir_access access;
    struct cert *root;
    int lock;
};

static void change_end(struct change *c)
{
    cadir_access_close(&c->access);
    cert_free(c->root);
    arena_free(&c->arena);
    if (c->lock >= 0)
        close(c->lock);
}
#define change_auto __attribute__((cleanup(change_end))) struct change

static enum td_err change_begin(struct change *c, const struct rotate_opts *o, struct errinfo *ei)
{
    *c = (struct change){.o = o, .lock = -1};
    arena_init(&c->arena, ARENA_MAX);
    enum cadir_state state = cadir_look(o->dir);
    if (state == CADIR_EMPTY || state == CADIR_PART)
        return err_set(ei, TD_NOTFOUND, "%.120s holds no complete CA", o->dir);
    TD_TRY(cadir_lock(o->dir, &c->lock, ei));
    TD_TRY(cadir_read_conf(o->dir, &c->arena, &c->conf, ei));
    TD_TRY(cadir_read_cert(o->dir, cadir_name(CADIR_ROOT_CERT), &c->root, ei));
    return cadir_access_open(&c->conf, o->pass_file, &c->access, ei);
}

static enum td_err root_key(struct change *c, struct key **ret, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    const char *at = c->o->root_key;
    if (!at) {
        TD_TRY(cadir_path(c->o->dir, CADIR_ROOT_KEY, path, ei));
        at = path;
    }
    key_auto *key = NULL;
    const struct keyfile_access by = cadir_access_view(&c->access);
    enum td_err e = keyfile_read(at, &by, &key, ei);
    if (e == TD_NOTFOUND)
        return err_set(ei, e,
                       "the root's key is not here: testudo ca export --csr, sign it where the "
                       "root is, testudo ca import");
    TD_TRY(e);
    if (!key_equal(cert_key(c->root), key))
        return err_set(ei, TD_CRYPTO, "%.120s is not the key of root.crt", at);
    *ret = key;
    key = NULL;
    return TD_OK;
}

static enum td_err new_key(struct change *c, const char *path, struct key **ret, struct errinfo *ei)
{
    const char *uri = c->o->key_uri ? c->o->key_uri : c->conf.issuing_key;
    char made[HSM_URI_MAX];
    key_auto *key = NULL;
    if (!*uri) {
        TD_TRY(key_generate(KEY_P256, &key, ei));
        TD_TRY(keyfile_write(path, key, &c->access.pass, false, ei));
    } else if (!c->access.hsm) {
        return err_set(ei, TD_STATE, "ca.ini names no PKCS#11 module");
    } else if (c->o->key_uri) { /* one that the administrator made */
        TD_TRY(hsm_open_key(c->access.hsm, uri, &key, ei));
        TD_TRY(keyfile_write_uri(path, uri, ei));
    } else {
        TD_TRY(hsm_make_key(c->access.hsm, uri, made, &key, ei));
        TD_TRY(keyfile_write_uri(path, made, ei));
    }
    *ret = key;
    key = NULL;
    return TD_OK;
}

/* The key of the issuing CA to come: the one that waits, or a new one. */
static enum td_err pending_key(struct change *c, struct key **ret, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    TD_TRY(cadir_path(c->o->dir, CADIR_PENDING_KEY, path, ei));
    const struct keyfile_access by = cadir_access_view(&c->access);
    enum td_err e = keyfile_read(path, &by, ret, ei);
    return e == TD_NOTFOUND ? new_key(c, path, ret, ei) : e;
}

static enum td_err sync_names(const struct change *c, struct errinfo *ei)
{
    return fsync(c->lock) == 0 ? TD_OK : err_sys(ei, TD_IO, errno, "cannot sync the CA directory");
}

/* A second name for a file; one that has it already is fine. */
static enum td_err also_named(const char *from, const char *to, struct errinfo *ei)
{
    if (link(from, to) == 0 || errno == EEXIST)
        return TD_OK;
    return err_sys(ei, TD_IO, errno, "cannot make %.120s", to);
}

/* The CA that is active now keeps its certificate and key under its own name. */
static enum td_err keep_old(const struct change *c, const struct cert *old, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX], key[CADIR_PATH_MAX];
    uint8_t id[CERT_SKI_SIZE];
    if (!cert_ski(old, id))
        return err_set(ei, TD_CRYPTO, "issuing.crt has no key identifier of 20 octets");
    buf_auto pem;
    buf_init(&pem, PEM_MAX);
    TD_TRY(cert_to_pem(old, &pem));
    TD_TRY(cadir_issuing_path(c->o->dir, id, "crt", path, ei));
    TD_TRY(fs_write(path, buf_view(&pem), 0644, true, ei));
    TD_TRY(cadir_path(c->o->dir, CADIR_ISSUING_KEY, key, ei));
    TD_TRY(cadir_issuing_path(c->o->dir, id, "key", path, ei));
    return fs_exists(path) ? TD_OK : also_named(key, path, ei);
}

static void remove_file(const struct change *c, enum cadir_file f)
{
    char path[CADIR_PATH_MAX];
    if (cadir_path(c->o->dir, f, path, NULL) == TD_OK)
        (void)unlink(path);
}

/* Gives the new key its own name; pending.key goes at the very end. */
static enum td_err name_key(const struct change *c, const uint8_t id[static CERT_SKI_SIZE],
                            struct errinfo *ei)
{
    char pending[CADIR_PATH_MAX], path[CADIR_PATH_MAX];
    TD_TRY(cadir_issuing_path(c->o->dir, id, "key", path, ei));
    if (fs_exists(path))
        return TD_OK;
    TD_TRY(cadir_path(c->o->dir, CADIR_PENDING_KEY, pending, ei));
    return also_named(pending, path, ei);
}

static enum td_err install(const struct change *c, const struct cert *fresh, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    uint8_t id[CERT_SKI_SIZE];
    cert_auto *old = NULL;
    buf_auto pem;
    buf_init(&pem, PEM_MAX);
    if (!cert_ski(fresh, id))
        return err_set(ei, TD_CRYPTO, "no subjectKeyIdentifier of 20 octets");
    TD_TRY(cert_to_pem(fresh, &pem));
    enum td_err e = cadir_read_cert(c->o->dir, cadir_name(CADIR_ISSUING_CERT), &old, ei);
    if (e == TD_OK)
        TD_TRY(keep_old(c, old, ei));
    else if (e != TD_NOTFOUND)
        return e;
    TD_TRY(name_key(c, id, ei));
    TD_TRY(sync_names(c, ei));
    TD_TRY(
        handlog_ca(c->o->dir, &c->access.pass, old ? "issuing-ca" : "first-issuing-ca", fresh, ei));
    TD_TRY(cadir_path(c->o->dir, CADIR_ISSUING_CERT, path, ei));
    TD_TRY(fs_write(path, buf_view(&pem), 0644, true, ei));
    remove_file(c, CADIR_ISSUING_KEY); /* has its other name, or never was */
    remove_file(c, CADIR_PENDING_KEY);
    return TD_OK;
}

static enum td_err mint_issuing(struct change *c, const struct key *key, struct cert **ret,
                                struct errinfo *ei)
{
    key_auto *root = NULL;
    TD_TRY(root_key(c, &root, ei));
    struct mint m = {.org = c->conf.org,
                     .cn = mint_issuing_name(c->conf.org, key, &c->arena),
                     .path_len = 0,
                     .life = MINT_ISSUING_LIFE,
                     .key = key};
    if (!m.cn)
        return err_set(ei, TD_NOMEM, "no memory");
    return mint_ca(&m, c->root, root, ret, ei);
}

static enum td_err count_one(void *ctx, const char *name, struct errinfo *ei)
{
    (void)name, (void)ei;
    (*(size_t *)ctx)++;
    return TD_OK;
}

/* The signer holds so many and no more. */
static enum td_err check_room(const struct change *c, struct errinfo *ei)
{
    size_t n = 1;
    TD_TRY(cadir_each(c->o->dir, ".crt", count_one, &n, ei));
    if (n >= CADIR_ISSUING_MAX)
        return err_set(ei, TD_LIMIT,
                       "%zu issuing CAs are here: move the files of those that expired away", n);
    return TD_OK;
}

static void hex_of(const struct cert *c, char out[static 2 * CERT_SKI_SIZE + 1])
{
    uint8_t id[CERT_SKI_SIZE] = {0};
    (void)cert_ski(c, id);
    hex_enc(SPAN_ARR(id), out);
}

enum td_err rotate_ca(const struct rotate_opts *o, char ret_hex[static 2 * CERT_SKI_SIZE + 1],
                      struct errinfo *ei)
{
    change_auto c;
    key_auto *key = NULL;
    key_auto *root = NULL;
    cert_auto *fresh = NULL;
    TD_TRY(change_begin(&c, o, ei));
    TD_TRY(check_room(&c, ei));
    TD_TRY(root_key(&c, &root, ei)); /* before a new key is made in vain */
    TD_TRY(pending_key(&c, &key, ei));
    TD_TRY(mint_issuing(&c, key, &fresh, ei));
    TD_TRY(install(&c, fresh, ei));
    hex_of(fresh, ret_hex);
    return TD_OK;
}

enum td_err rotate_csr(const struct rotate_opts *o, struct buf *pem, struct errinfo *ei)
{
    change_auto c;
    key_auto *key = NULL;
    TD_TRY(change_begin(&c, o, ei));
    TD_TRY(check_room(&c, ei));
    TD_TRY(pending_key(&c, &key, ei));
    return mint_csr(c.conf.org, key, pem, ei);
}

enum td_err rotate_sign(const struct rotate_opts *o, const char *csr_file, const char *cert_file,
                        struct errinfo *ei)
{
    change_auto c;
    key_auto *key = NULL;
    cert_auto *fresh = NULL;
    buf_auto csr, pem;
    buf_init(&pem, PEM_MAX);
    buf_init(&csr, PEM_MAX);
    TD_TRY(change_begin(&c, o, ei));
    TD_TRY(fs_read(csr_file, PEM_MAX, &csr, ei));
    TD_TRY(mint_csr_key(buf_view(&csr), &key, ei));
    TD_TRY(mint_issuing(&c, key, &fresh, ei));
    TD_TRY(mint_check(fresh, c.root, clock_now(&clock_system), ei));
    TD_TRY(cert_to_pem(fresh, &pem));
    TD_TRY(handlog_ca(o->dir, &c.access.pass, "signed-issuing-ca", fresh, ei));
    return fs_write(cert_file, buf_view(&pem), 0644, false, ei);
}

/* The key that fits, waiting or (after a crash in the middle) under its name already. */
static enum td_err key_of(struct change *c, const struct cert *fresh, struct errinfo *ei)
{
    char paths[2][CADIR_PATH_MAX];
    uint8_t id[CERT_SKI_SIZE] = {0};
    (void)cert_ski(fresh, id);
    const struct keyfile_access by = cadir_access_view(&c->access);
    TD_TRY(cadir_issuing_path(c->o->dir, id, "key", paths[0], ei));
    TD_TRY(cadir_path(c->o->dir, CADIR_PENDING_KEY, paths[1], ei));
    for (size_t i = 0; i < TD_NITEMS(paths); i++) {
        key_auto *key = NULL;
        enum td_err e = keyfile_read(paths[i], &by, &key, ei);
        if (e == TD_OK && key_equal(cert_key(fresh), key))
            return TD_OK;
        if (e != TD_OK && e != TD_NOTFOUND)
            return e;
    }
    return err_set(ei, TD_CRYPTO, "no key here fits the certificate: it is for another request");
}

/* Whether that very certificate is the active one. Another one for a key that is in use is refused:
 * an identifier names one certificate. */
static enum td_err installed(const struct change *c, const struct cert *fresh, bool *ret,
                             struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    cert_auto *active = NULL;
    uint8_t id[CERT_SKI_SIZE] = {0}, other[CERT_SKI_SIZE];
    *ret = false;
    (void)cert_ski(fresh, id);
    TD_TRY(cadir_issuing_path(c->o->dir, id, "crt", path, ei));
    if (fs_exists(path))
        return err_set(ei, TD_EXISTS, "that issuing CA was active before");
    enum td_err e = cadir_read_cert(c->o->dir, cadir_name(CADIR_ISSUING_CERT), &active, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    *ret = span_eq(cert_der(active), cert_der(fresh));
    if (!*ret && cert_ski(active, other) && memcmp(id, other, sizeof id) == 0)
        return err_set(ei, TD_EXISTS, "the active issuing CA has that key already");
    return TD_OK;
}

enum td_err rotate_import(const struct rotate_opts *o, const char *cert_file,
                          char ret_hex[static 2 * CERT_SKI_SIZE + 1], struct errinfo *ei)
{
    change_auto c;
    cert_auto *fresh = NULL;
    buf_auto pem;
    buf_init(&pem, PEM_MAX);
    TD_TRY(change_begin(&c, o, ei));
    TD_TRY(fs_read(cert_file, PEM_MAX, &pem, ei));
    TD_TRY(cert_from_pem(buf_view(&pem), &fresh, ei));
    TD_TRY(mint_check(fresh, c.root, clock_now(&clock_system), ei));
    hex_of(fresh, ret_hex);
    bool done = false;
    TD_TRY(installed(&c, fresh, &done, ei));
    if (done)
        return TD_OK;
    TD_TRY(check_room(&c, ei));
    TD_TRY(key_of(&c, fresh, ei));
    return install(&c, fresh, ei);
}
