#include "acme/signer/auditcheck.h"

#include <stdio.h>
#include <stdlib.h>

#include "acme/signer/cadir.h"
#include "acme/signer/checkpoint.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/num.h"
#include "mdm/base/str.h"

#define FILE_MAX_BYTES (64 << 20)

/* Marks in the order of their lines. */
struct marks {
    struct buf mem; /* of struct checkpoint_mark */
    struct checkpoint_mark *all;
    size_t n;
    size_t next;   /* not yet met while reading the log */
    uint64_t last; /* the highest line of all */
};

static void marks_free(struct marks *m)
{
    buf_free(&m->mem);
}
#define marks_auto __attribute__((cleanup(marks_free))) struct marks

static enum td_err add(struct marks *m, const struct checkpoint_mark *x, struct errinfo *ei)
{
    if (buf_add(&m->mem, x, sizeof *x) != TD_OK)
        return err_set(ei, TD_NOMEM, "no memory for the checkpoints");
    m->all = (void *)m->mem.p;
    m->n++;
    return TD_OK;
}

static enum td_err add_file(struct marks *m, const char *path, const char *name,
                            const struct key *key, struct errinfo *ei)
{
    buf_auto b;
    TD_TRY(fs_read(path, FILE_MAX_BYTES, &b, ei));
    struct span rest = buf_view(&b);
    while (rest.n) {
        struct checkpoint_mark x;
        bool whole = memchr(rest.p, '\n', rest.n) != NULL;
        struct span line = str_trim(str_cut(&rest, '\n'));
        if (line.n == 0)
            continue;
        enum td_err e = checkpoint_parse(line, name, key, &x, ei);
        if (e != TD_OK && !whole && rest.n == 0)
            break; /* cut short by a crash, as the log's own last line may be */
        TD_TRY(e);
        TD_TRY(add(m, &x, ei));
    }
    return TD_OK;
}

/* "NUMBER:HASH" from the administrator's own notes, or a file of checkpoints. */
static enum td_err add_since(struct marks *m, const char *since, const char *name,
                             const struct key *key, struct errinfo *ei)
{
    struct span text = span_str(since), number = str_cut(&text, ':');
    struct checkpoint_mark x;
    if (num_u64(number, UINT64_MAX, &x.seq) == TD_OK &&
        hex_dec(text, x.head, sizeof x.head) == TD_OK)
        return add(m, &x, ei);
    if (!key)
        return err_set(ei, TD_STATE, "there is no audit.pub to check %.100s with", since);
    return add_file(m, since, name, key, ei);
}

static int by_line(const void *a, const void *b)
{
    const struct checkpoint_mark *x = a, *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static enum td_err compare(void *ctx, uint64_t seq, const uint8_t hash[static SHA256_SIZE],
                           struct errinfo *ei)
{
    struct marks *m = ctx;
    for (; m->next < m->n && m->all[m->next].seq <= seq; m->next++)
        if (m->all[m->next].seq == seq && memcmp(m->all[m->next].head, hash, SHA256_SIZE) != 0)
            return err_set(ei, TD_STATE, "line %llu is not the one that a checkpoint covers",
                           (unsigned long long)seq);
    return TD_OK;
}

static enum td_err check_log(const char *path, const char *name, struct marks *m, struct buf *out,
                             struct errinfo *ei)
{
    char hash[2 * SHA256_SIZE + 1];
    uint8_t last[SHA256_SIZE];
    uint64_t lines;
    if (m->n)
        qsort(m->all, m->n, sizeof *m->all, by_line);
    m->last = m->n ? m->all[m->n - 1].seq : 0;
    struct errinfo why = {0};
    enum td_err e = audit_log_verify(path, compare, m, &lines, last, &why);
    if (e != TD_OK)
        return err_set(ei, e, "%s: %.160s", name, err_msg(&why, e));
    if (m->next < m->n)
        return err_set(ei, TD_STATE, "%s ends at line %llu, a checkpoint covers line %llu: cut off",
                       name, (unsigned long long)lines, (unsigned long long)m->last);
    hex_enc(SPAN_ARR(last), hash);
    return buf_printf(out,
                      "%s: %llu lines, the chain holds; %zu checkpoints hold, the last of line "
                      "%llu; last hash %s\n",
                      path, (unsigned long long)lines, m->n, (unsigned long long)m->last, hash);
}

struct log_files {
    enum cadir_file log, checkpoints;
    bool since;
};

static enum td_err check_one(const struct auditcheck_opts *o, const struct log_files *f,
                             const struct key *key, struct buf *out, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX], marks_path[CADIR_PATH_MAX];
    const char *name = cadir_name(f->log), *since = f->since ? o->since : NULL;
    marks_auto m = {.n = 0};
    buf_init(&m.mem, FILE_MAX_BYTES);
    TD_TRY(cadir_path(o->dir, f->log, path, ei));
    TD_TRY(cadir_path(o->dir, f->checkpoints, marks_path, ei));
    if (key && !fs_exists(marks_path))
        return err_set(ei, TD_STATE, "%s is missing", cadir_name(f->checkpoints));
    if (key)
        TD_TRY(add_file(&m, marks_path, name, key, ei));
    if (since)
        TD_TRY(add_since(&m, since, name, key, ei));
    if (!fs_exists(path) && m.n == 0)
        return TD_OK; /* never begun */
    if (!fs_exists(path))
        return err_set(ei, TD_STATE, "%s is missing", name);
    return check_log(path, name, &m, out, ei);
}

enum td_err auditcheck_run(const struct auditcheck_opts *o, struct buf *out, struct errinfo *ei)
{
    static const struct log_files logs[] = {
        {CADIR_AUDIT, CADIR_AUDIT_MARKS, true},
        {CADIR_AUDIT_TLS, CADIR_AUDIT_TLS_MARKS, false},
    };
    char path[CADIR_PATH_MAX];
    key_auto *key = NULL;
    TD_TRY(cadir_path(o->dir, CADIR_AUDIT_PUB, path, ei));
    if (o->pub_file || fs_exists(path)) /* a log of before there were checkpoints has none */
        TD_TRY(checkpoint_public(o->pub_file ? o->pub_file : path, &key, ei));
    for (size_t i = 0; i < TD_NITEMS(logs); i++)
        TD_TRY(check_one(o, &logs[i], key, out, ei));
    return TD_OK;
}
