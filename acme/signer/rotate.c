#include "acme/signer/rotate.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "acme/signer/handlog.h"
#include "acme/signer/mint.h"
#include "acme/signer/proto/issuer_life.h"
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
    struct cert *root, *active; /* none is active while the first is to come */
    int lock;
};

static void change_end(struct change *c)
{
    cadir_access_close(&c->access);
    cert_free(c->root);
    cert_free(c->active);
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
    enum td_err e = cadir_read_cert(o->dir, cadir_name(CADIR_ISSUING_CERT), &c->active, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
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

struct taken {
    const struct change *c;
    const struct key *key;
    bool yes;
};

static enum td_err compare_key(void *ctx, const char *name, struct errinfo *ei)
{
    struct taken *t = ctx;
    cert_auto *x = NULL;
    TD_TRY(cadir_read_cert(t->c->o->dir, name, &x, ei));
    t->yes = t->yes || key_equal(cert_key(x), t->key);
    return TD_OK;
}

/* Whether some issuing CA here has that key. */
static enum td_err key_taken(const struct change *c, const struct key *key, bool *ret,
                             struct errinfo *ei)
{
    struct taken t = {.c = c, .key = key};
    t.yes = c->active && key_equal(cert_key(c->active), key);
    TD_TRY(cadir_each(c->o->dir, ".crt", compare_key, &t, ei));
    TD_TRY(cadir_each(c->o->dir, CADIR_STANDBY, compare_key, &t, ei));
    *ret = t.yes;
    return TD_OK;
}

/* The key of the issuing CA to come: the one that waits, or a new one, also where a change that was
 * cut short left the key of a CA that is here. */
static enum td_err pending_key(struct change *c, struct key **ret, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    key_auto *key = NULL;
    bool taken = false;
    TD_TRY(cadir_path(c->o->dir, CADIR_PENDING_KEY, path, ei));
    const struct keyfile_access by = cadir_access_view(&c->access);
    enum td_err e = keyfile_read(path, &by, &key, ei);
    if (e == TD_NOTFOUND)
        return new_key(c, path, ret, ei);
    TD_TRY(e);
    TD_TRY(key_taken(c, key, &taken, ei));
    if (taken) {
        (void)unlink(path);
        return new_key(c, path, ret, ei);
    }
    *ret = key;
    key = NULL;
    return TD_OK;
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

/* Removes pending.key when it is that CA's: another request may be out. */
static void drop_pending(const struct change *c, const struct cert *x)
{
    char path[CADIR_PATH_MAX];
    key_auto *key = NULL;
    const struct keyfile_access by = cadir_access_view(&c->access);
    if (cadir_path(c->o->dir, CADIR_PENDING_KEY, path, NULL) == TD_OK &&
        keyfile_read(path, &by, &key, NULL) == TD_OK && key_equal(cert_key(x), key))
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

/* The certificate becomes durable under that path, its key under the CA's name before. */
static enum td_err put_issuing(const struct change *c, const struct cert *fresh, const char *what,
                               const char *path, struct errinfo *ei)
{
    uint8_t id[CERT_SKI_SIZE];
    buf_auto pem;
    buf_init(&pem, PEM_MAX);
    if (!cert_ski(fresh, id))
        return err_set(ei, TD_CRYPTO, "no subjectKeyIdentifier of 20 octets");
    TD_TRY(cert_to_pem(fresh, &pem));
    TD_TRY(name_key(c, id, ei));
    TD_TRY(sync_names(c, ei));
    TD_TRY(handlog_ca(c->o->dir, &c->access.pass, what, fresh, ei));
    return fs_write(path, buf_view(&pem), 0644, true, ei);
}

static enum td_err standby_path(const struct change *c, const struct cert *x,
                                char out[static CADIR_PATH_MAX], struct errinfo *ei)
{
    uint8_t id[CERT_SKI_SIZE] = {0};
    (void)cert_ski(x, id);
    return cadir_issuing_path(c->o->dir, id, "standby", out, ei);
}

/* Makes it the active one. */
static enum td_err install(const struct change *c, const struct cert *fresh, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX], stood_by[CADIR_PATH_MAX];
    if (c->active)
        TD_TRY(keep_old(c, c->active, ei));
    TD_TRY(cadir_path(c->o->dir, CADIR_ISSUING_CERT, path, ei));
    TD_TRY(standby_path(c, fresh, stood_by, ei));
    TD_TRY(put_issuing(c, fresh, c->active ? "issuing-ca" : "first-issuing-ca", path, ei));
    if (cadir_path(c->o->dir, CADIR_ISSUING_KEY, path, NULL) == TD_OK)
        (void)unlink(path); /* has its other name, or never was */
    drop_pending(c, fresh);
    (void)unlink(stood_by); /* counts for nothing beside issuing.crt */
    return TD_OK;
}

static enum td_err stand_by(const struct change *c, const struct cert *fresh, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    if (!c->active)
        return err_set(ei, TD_STATE, "no issuing CA is active: the first one cannot stand by");
    TD_TRY(standby_path(c, fresh, path, ei));
    TD_TRY(put_issuing(c, fresh, "standby-issuing-ca", path, ei));
    drop_pending(c, fresh);
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
    TD_TRY(cadir_each(c->o->dir, CADIR_STANDBY, count_one, &n, ei));
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

/* Those that stand by. */
struct found {
    const struct change *c;
    size_t n;
    char hex[2 * CERT_SKI_SIZE + 1]; /* of the last one */
};

static enum td_err found_standby(void *ctx, const char *name, struct errinfo *ei)
{
    struct found *f = ctx;
    (void)ei;
    if (!cadir_stands_by(f->c->o->dir, name, f->c->active))
        return TD_OK;
    snprintf(f->hex, sizeof f->hex, "%s", strchr(name, '-') + 1);
    f->n++;
    return TD_OK;
}

static enum td_err find_standby(const struct change *c, struct found *f, struct errinfo *ei)
{
    *f = (struct found){.c = c};
    return cadir_each(c->o->dir, CADIR_STANDBY, found_standby, f, ei);
}

enum td_err rotate_ca(const struct rotate_opts *o, char ret_hex[static 2 * CERT_SKI_SIZE + 1],
                      struct errinfo *ei)
{
    change_auto c;
    key_auto *key = NULL;
    key_auto *root = NULL;
    cert_auto *fresh = NULL;
    struct found found = {.n = 0};
    TD_TRY(change_begin(&c, o, ei));
    TD_TRY(find_standby(&c, &found, ei));
    if (found.n)
        return err_set(ei, TD_EXISTS, "%s stands by already: testudo ca activate", found.hex);
    TD_TRY(check_room(&c, ei));
    TD_TRY(root_key(&c, &root, ei)); /* before a new key is made in vain */
    TD_TRY(pending_key(&c, &key, ei));
    TD_TRY(mint_issuing(&c, key, &fresh, ei));
    TD_TRY((o->standby ? stand_by : install)(&c, fresh, ei));
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

/* Whether that is the very certificate. Another one for the same key is refused: an identifier
 * names one certificate. */
static enum td_err same(const struct cert *there, const struct cert *fresh, const char *which,
                        bool *ret, struct errinfo *ei)
{
    uint8_t id[CERT_SKI_SIZE], other[CERT_SKI_SIZE];
    *ret = there && span_eq(cert_der(there), cert_der(fresh));
    if (there && !*ret && cert_ski(there, other) && cert_ski(fresh, id) &&
        memcmp(id, other, sizeof id) == 0)
        return err_set(ei, TD_EXISTS, "the issuing CA that %s has that key already", which);
    return TD_OK;
}

static enum td_err refuse_retired(const struct change *c, const uint8_t id[static CERT_SKI_SIZE],
                                  struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    TD_TRY(cadir_issuing_path(c->o->dir, id, "crt", path, ei));
    return fs_exists(path) ? err_set(ei, TD_EXISTS, "that issuing CA was active before") : TD_OK;
}

/* Whether nothing is left to do. */
static enum td_err installed(const struct change *c, const struct cert *fresh, bool *ret,
                             struct errinfo *ei)
{
    char name[CADIR_NAME_MAX], hex[2 * CERT_SKI_SIZE + 1];
    uint8_t id[CERT_SKI_SIZE] = {0};
    cert_auto *waits = NULL;
    (void)cert_ski(fresh, id);
    TD_TRY(refuse_retired(c, id, ei));
    TD_TRY(same(c->active, fresh, "is active", ret, ei));
    if (*ret)
        return TD_OK;
    hex_of(fresh, hex);
    snprintf(name, sizeof name, "issuing-%s" CADIR_STANDBY, hex);
    enum td_err e = cadir_read_cert(c->o->dir, name, &waits, ei);
    if (e != TD_OK && e != TD_NOTFOUND)
        return e;
    TD_TRY(same(waits, fresh, "stands by", ret, ei));
    *ret = *ret && c->o->standby; /* else it is to become active */
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
    return (o->standby ? stand_by : install)(&c, fresh, ei);
}

/* The certificate of the one that is to become active; NULL when it is already. */
static enum td_err chosen(const struct change *c, const char *named, struct cert **ret,
                          struct errinfo *ei)
{
    char name[CADIR_NAME_MAX], hex[2 * CERT_SKI_SIZE + 1];
    uint8_t id[CERT_SKI_SIZE], own[CERT_SKI_SIZE];
    struct found f;
    TD_TRY(find_standby(c, &f, ei));
    if (!named && f.n > 1)
        return err_set(ei, TD_STATE, "%zu issuing CAs stand by: name one", f.n);
    if (!named && f.n == 0)
        return err_set(ei, TD_NOTFOUND, "no issuing CA stands by: testudo ca rotate --standby");
    if (hex_dec(span_str(named ? named : f.hex), id, sizeof id) != TD_OK)
        return err_set(ei, TD_INVAL, "not an identifier of 40 hexadecimal digits");
    if (c->active && cert_ski(c->active, own) && memcmp(own, id, sizeof id) == 0)
        return TD_OK;
    TD_TRY(refuse_retired(c, id, ei));
    hex_enc(SPAN_ARR(id), hex);
    snprintf(name, sizeof name, "issuing-%s" CADIR_STANDBY, hex);
    enum td_err e = cadir_read_cert(c->o->dir, name, ret, ei);
    if (e == TD_NOTFOUND)
        return err_set(ei, e, "no issuing CA %s stands by here", hex);
    TD_TRY(e);
    if (!cert_ski(*ret, own) || memcmp(own, id, sizeof id) != 0)
        return err_set(ei, TD_CRYPTO, "%s is the certificate of another CA", name);
    return TD_OK;
}

static enum td_err check_own_key(struct change *c, const struct cert *x, const char *hex,
                                 struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    uint8_t id[CERT_SKI_SIZE] = {0};
    key_auto *key = NULL;
    (void)cert_ski(x, id);
    const struct keyfile_access by = cadir_access_view(&c->access);
    TD_TRY(cadir_issuing_path(c->o->dir, id, "key", path, ei));
    enum td_err e = keyfile_read(path, &by, &key, ei);
    if (e == TD_NOTFOUND)
        return err_set(ei, e, "the key of %s is not here: issuing-%s.key", hex, hex);
    TD_TRY(e);
    if (!key_equal(cert_key(x), key))
        return err_set(ei, TD_CRYPTO, "issuing-%s.key is not the key of %s", hex, hex);
    return TD_OK;
}

enum td_err rotate_activate(const struct rotate_opts *o, const char *id,
                            char ret_hex[static 2 * CERT_SKI_SIZE + 1], struct errinfo *ei)
{
    change_auto c;
    cert_auto *x = NULL;
    int64_t now = clock_now(&clock_system);
    TD_TRY(change_begin(&c, o, ei));
    TD_TRY(chosen(&c, id, &x, ei));
    if (!x) {
        snprintf(ret_hex, 2 * CERT_SKI_SIZE + 1, "%s", id);
        return TD_OK;
    }
    hex_of(x, ret_hex);
    TD_TRY(issuer_life(x, now, ei));
    TD_TRY(mint_check(x, c.root, now, ei));
    TD_TRY(check_own_key(&c, x, ret_hex, ei));
    return install(&c, x, ei);
}
