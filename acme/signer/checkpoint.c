#include "acme/signer/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/signer/cadir.h"
#include "mdm/base/b64.h"
#include "mdm/base/clock.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/log.h"
#include "mdm/base/num.h"
#include "mdm/base/str.h"

#define EVERY_LINES 1000
#define EVERY_MS 1000
#define LOG_EVERY_MS 60000
#define FILE_MAX_BYTES (1 << 20)
#define FILE_KEEP (FILE_MAX_BYTES / 2)
#define SIG_MAX 160 /* DER of an ECDSA signature */
#define TEXT_MAX 512
#define ARENA_MAX 65536
#define PUB_BEGIN "-----BEGIN PUBLIC KEY-----"
#define PUB_END "-----END PUBLIC KEY-----"

/* --- the key --- */

static enum td_err write_public(const char *path, const struct key *key, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct span spki;
    buf_auto b;
    buf_init(&b, ARENA_MAX);
    TD_TRY(key_spki(key, &a, &spki, ei));
    buf_str(&b, PUB_BEGIN "\n");
    b64_enc(&b, spki);
    if (buf_str(&b, "\n" PUB_END "\n") != TD_OK)
        return err_set(ei, TD_NOMEM, "no memory");
    return fs_write(path, buf_view(&b), 0644, true, ei);
}

enum td_err checkpoint_public(const char *path, struct key **ret, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    buf_auto pem;
    struct span der;
    TD_TRY(fs_read(path, ARENA_MAX / 2, &pem, ei));
    char *text = arena_dup(&a, buf_view(&pem));
    char *begin = text ? strstr(text, PUB_BEGIN) : NULL;
    char *end = begin ? strstr(begin, PUB_END) : NULL;
    if (begin)
        begin += strlen(PUB_BEGIN);
    if (!end || b64_dec(&a, span_of(begin, (size_t)(end - begin)), &der) != TD_OK)
        return err_set(ei, TD_PARSE, "%.120s is not a public key in PEM", path);
    return key_from_spki_known(der, ret, ei);
}

/* From here on a file of checkpoints that is missing was taken away. */
static enum td_err begin_files(const char *dir, struct errinfo *ei)
{
    static const enum cadir_file files[] = {CADIR_AUDIT_MARKS, CADIR_AUDIT_TLS_MARKS};
    char path[CADIR_PATH_MAX];
    for (size_t i = 0; i < TD_NITEMS(files); i++) {
        TD_TRY(cadir_path(dir, files[i], path, ei));
        enum td_err e = fs_write(path, (struct span){NULL, 0}, 0600, false, ei);
        if (e != TD_OK && e != TD_EXISTS)
            return e;
    }
    return TD_OK;
}

enum td_err checkpoint_key(const char *dir, const struct secret *pass, struct key **ret,
                           struct errinfo *ei)
{
    char path[CADIR_PATH_MAX], pub[CADIR_PATH_MAX];
    const struct keyfile_access by = {pass, NULL};
    key_auto *fresh = NULL;
    TD_TRY(cadir_path(dir, CADIR_AUDIT_KEY, path, ei));
    TD_TRY(cadir_path(dir, CADIR_AUDIT_PUB, pub, ei));
    enum td_err e = keyfile_read(path, &by, ret, ei);
    if (e != TD_NOTFOUND)
        return e;
    TD_TRY(key_generate(KEY_P256, &fresh, ei));
    e = keyfile_write(path, fresh, pass, false, ei);
    if (e == TD_EXISTS) /* another program was first */
        return keyfile_read(path, &by, ret, ei);
    TD_TRY(e);
    TD_TRY(write_public(pub, fresh, ei));
    TD_TRY(begin_files(dir, ei));
    *ret = fresh;
    fresh = NULL;
    return TD_OK;
}

static enum td_err key_id(const struct key *key, char out[static 2 * CHECKPOINT_KEY_ID + 1],
                          struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct span spki;
    uint8_t hash[SHA256_SIZE];
    TD_TRY(key_spki(key, &a, &spki, ei));
    digest_sha256(spki, hash);
    hex_enc(span_of(hash, CHECKPOINT_KEY_ID), out);
    return TD_OK;
}

/* --- the file --- */

/* "DIR/audit.log" -> "DIR/audit.checkpoints" */
static enum td_err file_of(const char *log_path, char out[static CADIR_PATH_MAX],
                           struct errinfo *ei)
{
    size_t n = strlen(log_path), cut = strlen(".log");
    int len =
        n > cut ? snprintf(out, CADIR_PATH_MAX, "%.*s.checkpoints", (int)(n - cut), log_path) : -1;
    return len > 0 && len < CADIR_PATH_MAX ? TD_OK : err_set(ei, TD_LIMIT, "the path is too long");
}

/* Keeps the newer half of a file that grew large. */
static enum td_err shorten(const char *path, struct errinfo *ei)
{
    struct stat st;
    if (stat(path, &st) != 0 || st.st_size <= FILE_MAX_BYTES)
        return TD_OK;
    buf_auto b;
    TD_TRY(fs_read(path, 16 * FILE_MAX_BYTES, &b, ei));
    struct span tail = span_sub(buf_view(&b), b.n - FILE_KEEP, FILE_KEEP);
    (void)str_cut(&tail, '\n');
    return fs_write(path, tail, 0600, true, ei);
}

enum td_err checkpoints_open(const char *log_path, const char *name, const struct key *key,
                             struct checkpoints *ret, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    *ret = (struct checkpoints){.fd = -1, .name = name, .key = key, .logged_ms = INT64_MIN / 2};
    TD_TRY(key_id(key, ret->key_id, ei));
    TD_TRY(file_of(log_path, path, ei));
    TD_TRY(shorten(path, ei));
    ret->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    return ret->fd >= 0 ? TD_OK : err_sys(ei, TD_IO, errno, "cannot open %.120s", path);
}

void checkpoints_close(struct checkpoints *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

bool checkpoints_pending(const struct checkpoints *c, const struct audit_log *l)
{
    return c->fd >= 0 && l->seq != c->seq;
}

/* What the signature covers. */
static enum td_err signed_text(const char *name, uint64_t seq, struct span head, struct span time,
                               struct buf *b)
{
    return buf_printf(b, "testudo audit checkpoint\n%s\n%llu\n%.*s\n%.*s\n", name,
                      (unsigned long long)seq, (int)head.n, (const char *)head.p, (int)time.n,
                      (const char *)time.p);
}

static enum td_err make_line(const struct checkpoints *c, const struct audit_log *l, struct buf *b,
                             struct errinfo *ei)
{
    char head[2 * SHA256_SIZE + 1], at[CLOCK_TEXT_SIZE], sig[2 * SIG_MAX + 1];
    arena_auto a;
    arena_init(&a, ARENA_MAX);
    struct span s;
    buf_auto text;
    buf_init(&text, TEXT_MAX);
    hex_enc(SPAN_ARR(l->last), head);
    clock_text(clock_now(&clock_system), at);
    TD_TRY(signed_text(c->name, l->seq, span_str(head), span_str(at), &text));
    TD_TRY(key_sign(c->key, DIGEST_SHA256, buf_view(&text), &a, &s, ei));
    if (s.n > SIG_MAX)
        return err_set(ei, TD_INTERNAL, "the checkpoint's signature is too long");
    hex_enc(s, sig);
    return buf_printf(b,
                      "{\"log\":\"%s\",\"seq\":%llu,\"head\":\"%s\",\"time\":\"%s\",\"key\":\"%s\","
                      "\"sig\":\"%s\"}\n",
                      c->name, (unsigned long long)l->seq, head, at, c->key_id, sig);
}

enum td_err checkpoints_sign(struct checkpoints *c, const struct audit_log *l, bool now,
                             struct errinfo *ei)
{
    int64_t ms = clock_mono(&clock_system);
    bool due = l->seq - c->seq >= EVERY_LINES || ms - c->signed_ms >= EVERY_MS;
    if (!checkpoints_pending(c, l) || (!now && !due))
        return TD_OK;
    buf_auto b;
    buf_init(&b, 2 * TEXT_MAX);
    TD_TRY(make_line(c, l, &b, ei));
    ssize_t n;
    do
        n = write(c->fd, b.p, b.n);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)b.n)
        return err_sys(ei, TD_IO, errno, "cannot write a checkpoint");
    c->seq = l->seq;
    c->signed_ms = ms;
    if (now || ms - c->logged_ms >= LOG_EVERY_MS) {
        log_ev(LOG_INFO, "signer.checkpoint", KV_SPAN("line", str_trim(buf_view(&b))));
        c->logged_ms = ms;
    }
    return TD_OK;
}

/* The value behind "NAME": up to the closing quote; what stands between is ours and has none. */
static struct span text_of(struct span line, const char *name)
{
    char key[16];
    int n = snprintf(key, sizeof key, "\"%s\":\"", name);
    const uint8_t *at = n > 0 && line.n ? memmem(line.p, line.n, key, (size_t)n) : NULL;
    if (!at)
        return (struct span){NULL, 0};
    struct span rest = span_sub(line, (size_t)(at - line.p) + (size_t)n, SIZE_MAX);
    const uint8_t *end = rest.n ? memchr(rest.p, '"', rest.n) : NULL;
    return end ? span_of(rest.p, (size_t)(end - rest.p)) : (struct span){NULL, 0};
}

static bool seq_of(struct span line, uint64_t *ret)
{
    struct span key = SPAN_LIT("\"seq\":");
    const uint8_t *at = line.n ? memmem(line.p, line.n, key.p, key.n) : NULL;
    if (!at)
        return false;
    struct span rest = span_sub(line, (size_t)(at - line.p) + key.n, SIZE_MAX);
    return num_u64(str_cut(&rest, ','), UINT64_MAX, ret) == TD_OK;
}

enum td_err checkpoint_parse(struct span line, const char *name, const struct key *key,
                             struct checkpoint_mark *ret, struct errinfo *ei)
{
    struct checkpoint_mark m;
    char id[2 * CHECKPOINT_KEY_ID + 1];
    uint8_t sig[SIG_MAX];
    struct span head = text_of(line, "head"), time = text_of(line, "time");
    struct span hex = text_of(line, "sig");
    TD_TRY(key_id(key, id, ei));
    if (!span_eq_str(text_of(line, "log"), name) || !seq_of(line, &m.seq) ||
        hex_dec(head, m.head, sizeof m.head) != TD_OK || hex.n % 2 || hex.n > 2 * sizeof sig ||
        time.n >= CLOCK_TEXT_SIZE || hex_dec(hex, sig, hex.n / 2) != TD_OK)
        return err_set(ei, TD_PARSE, "not a checkpoint of %s", name);
    if (!span_eq_str(text_of(line, "key"), id))
        return err_set(ei, TD_CRYPTO, "the checkpoint of line %llu is of another audit key",
                       (unsigned long long)m.seq);
    buf_auto text;
    buf_init(&text, TEXT_MAX);
    TD_TRY(signed_text(name, m.seq, head, time, &text));
    if (key_verify(key, DIGEST_SHA256, buf_view(&text), span_of(sig, hex.n / 2), NULL) != TD_OK)
        return err_set(ei, TD_CRYPTO, "the checkpoint of line %llu is not signed by the audit key",
                       (unsigned long long)m.seq);
    *ret = m;
    return TD_OK;
}
