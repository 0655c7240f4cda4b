#include "acme/signer/proto/profile_set.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "mdm/base/fs.h"

#define PATH_MAX_LEN 4096
#define FILE_MAX 16384
#define ARENA_MAX ((size_t)4 * 1024 * 1024)
#define ENDING ".ini"

const struct profile_conf *profile_set_find(const struct profile_set *s, struct span name)
{
    for (size_t i = 0; i < s->n; i++)
        if (span_eq_str(name, s->all[i].name))
            return &s->all[i];
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct profile_conf *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum td_err add(struct profile_set *s, const struct profile_conf *p, struct errinfo *ei)
{
    if (s->n == PROFILE_SET_MAX)
        return err_set(ei, TD_LIMIT, "more than %d certificate profiles", PROFILE_SET_MAX);
    s->all[s->n++] = *p;
    return TD_OK;
}

static enum td_err load_file(struct profile_set *s, const char *folder, const char *file,
                             struct errinfo *ei)
{
    char path[PATH_MAX_LEN], name[PROFILE_NAME_MAX + 1] = "";
    size_t n = strlen(file) - strlen(ENDING);
    struct stat st;
    if (n == 0 || n > PROFILE_NAME_MAX)
        return err_set(ei, TD_INVAL, "profiles/%.80s: not a profile's name", file);
    snprintf(name, sizeof name, "%.*s", (int)n, file);
    int len = snprintf(path, sizeof path, "%s/%s", folder, file);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(ei, TD_LIMIT, "the path of the CA directory is too long");
    if (stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(ei, TD_FORBIDDEN, "profiles/%s can be written by others: chmod 644 it",
                       file);
    buf_auto b;
    buf_init(&b, FILE_MAX);
    TD_TRY(fs_read(path, FILE_MAX, &b, ei));
    struct profile_conf p;
    struct errinfo why = {0};
    enum td_err e = profile_conf_parse(name, buf_view(&b), &s->arena, &p, &why);
    if (e != TD_OK)
        return err_set(ei, e, "profiles/%s: %.140s", file, err_msg(&why, e));
    return add(s, &p, ei);
}

static bool is_ini(const char *file)
{
    size_t n = strlen(file), k = strlen(ENDING);
    return file[0] != '.' && n > k && strcmp(file + n - k, ENDING) == 0;
}

static enum td_err load_folder(struct profile_set *s, const char *folder, struct errinfo *ei)
{
    DIR *d = opendir(folder);
    if (!d && errno == ENOENT)
        return TD_OK;
    if (!d)
        return err_sys(ei, TD_IO, errno, "cannot read %.120s", folder);
    enum td_err e = TD_OK;
    for (struct dirent *f; e == TD_OK && (f = readdir(d));)
        if (is_ini(f->d_name))
            e = load_file(s, folder, f->d_name, ei);
    closedir(d);
    return e;
}

enum td_err profile_set_load(const char *dir, struct profile_set *ret, struct errinfo *ei)
{
    char folder[PATH_MAX_LEN];
    *ret = (struct profile_set){0};
    arena_init(&ret->arena, ARENA_MAX);
    int n = snprintf(folder, sizeof folder, "%s/profiles", dir);
    enum td_err e = n > 0 && (size_t)n < sizeof folder
                        ? load_folder(ret, folder, ei)
                        : err_set(ei, TD_LIMIT, "the path of the CA directory is too long");
    for (size_t i = 0; e == TD_OK && profile_conf_builtin(i); i++)
        if (!profile_set_find(ret, span_str(profile_conf_builtin(i)->name)))
            e = add(ret, profile_conf_builtin(i), ei);
    if (e != TD_OK) {
        profile_set_free(ret);
        return e;
    }
    qsort(ret->all, ret->n, sizeof ret->all[0], by_name);
    return TD_OK;
}

void profile_set_free(struct profile_set *s)
{
    arena_free(&s->arena);
    *s = (struct profile_set){0};
}
