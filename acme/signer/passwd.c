#include "acme/signer/passwd.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "acme/signer/cadir.h"

#define FILES_MAX 64 /* keys of a directory: the root's, the issuing CAs', the audit key */

struct found {
    char path[CADIR_PATH_MAX];
    struct key *key;
};

struct change {
    const char *dir;
    const struct secret *old, *fresh;
    struct found files[FILES_MAX];
    unsigned n;
};

/* Takes a key that is not under the new passphrase yet. */
static enum td_err one_file(struct change *c, const char *path, struct errinfo *ei)
{
    enum keyfile_kind kind;
    key_auto *key = NULL;
    TD_TRY(keyfile_look(path, &kind, ei));
    if (kind == KEYFILE_ABSENT || kind == KEYFILE_MODULE)
        return TD_OK;
    const struct keyfile_access now = {c->fresh, NULL}, before = {c->old, NULL};
    enum td_err e = keyfile_read(path, &before, &key, ei);
    if (e != TD_OK && kind == KEYFILE_ENCRYPTED && keyfile_read(path, &now, &key, NULL) == TD_OK)
        return TD_OK; /* of a change that was cut short */
    TD_TRY(e);
    if (c->n == FILES_MAX)
        return err_set(ei, TD_LIMIT, "more than %d keys", FILES_MAX);
    struct found *f = &c->files[c->n++];
    memcpy(f->path, path, strlen(path) + 1);
    f->key = key;
    key = NULL;
    return TD_OK;
}

static enum td_err visit_named(void *ctx, const char *name, struct errinfo *ei)
{
    struct change *c = ctx;
    char path[CADIR_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", c->dir, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(ei, TD_LIMIT, "the path of the CA directory is too long");
    return one_file(c, path, ei);
}

static enum td_err read_files(struct change *c, struct errinfo *ei)
{
    static const enum cadir_file files[] = {CADIR_ROOT_KEY, CADIR_ISSUING_KEY, CADIR_PENDING_KEY,
                                            CADIR_AUDIT_KEY};
    char path[CADIR_PATH_MAX];
    for (size_t i = 0; i < TD_NITEMS(files); i++) {
        TD_TRY(cadir_path(c->dir, files[i], path, ei));
        TD_TRY(one_file(c, path, ei));
    }
    return cadir_each(c->dir, ".key", visit_named, c, ei);
}

/* All can be read, before one is written. */
static enum td_err change_files(struct change *c, struct errinfo *ei)
{
    enum td_err e = read_files(c, ei);
    for (unsigned i = 0; e == TD_OK && i < c->n; i++)
        e = keyfile_write(c->files[i].path, c->files[i].key, c->fresh, true, ei);
    for (unsigned i = 0; i < c->n; i++)
        key_free(c->files[i].key);
    return e;
}

enum td_err passwd_change(const char *dir, const char *pass_file, const char *new_file,
                          unsigned *ret_n, struct errinfo *ei)
{
    secret_auto old = {NULL, 0}, fresh = {NULL, 0};
    int lock;
    if (cadir_look(dir) == CADIR_EMPTY)
        return err_set(ei, TD_NOTFOUND, "no CA in %.120s", dir);
    TD_TRY(cadir_pass(pass_file, &old, ei));
    TD_TRY(cadir_pass(new_file, &fresh, ei));
    if (fresh.n == 0)
        return err_set(ei, TD_INVAL, "the new passphrase is empty");
    TD_TRY(cadir_lock(dir, &lock, ei));
    struct change *c = calloc(1, sizeof *c);
    enum td_err e = TD_NOMEM;
    if (c) {
        *c = (struct change){.dir = dir, .old = &old, .fresh = &fresh};
        e = change_files(c, ei);
        *ret_n = c->n;
    }
    free(c);
    close(lock);
    return e;
}
