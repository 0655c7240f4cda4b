#include "acme/signer/audit_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mdm/base/clock.h"
#include "mdm/base/hex.h"
#include "mdm/base/num.h"

#define LINE_MAX_BYTES 1024
#define PENDING_MAX (256 * LINE_MAX_BYTES)
#define HASH_TEXT (2 * SHA256_SIZE + 1)
#define LOCK_STEP_MS 50

static const struct span seq_key = {(const uint8_t *)"{\"seq\":", 7};
static const struct span prev_key = {(const uint8_t *)"\"prev\":\"", 8};
static const struct span line_end = {(const uint8_t *)"\"}\n", 3};

/* Reads number and previous hash out of one line, newline included. */
static enum td_err parse_line(struct span line, uint64_t *ret_seq, uint8_t prev[static SHA256_SIZE])
{
    size_t tail = prev_key.n + 2 * SHA256_SIZE + line_end.n;
    if (!span_starts(line, seq_key) || line.n < seq_key.n + tail)
        return TD_PARSE;
    size_t digits = 0;
    while (seq_key.n + digits < line.n && line.p[seq_key.n + digits] != ',')
        digits++;
    TD_TRY(num_u64(span_sub(line, seq_key.n, digits), UINT64_MAX, ret_seq));
    struct span rest = span_sub(line, line.n - tail, tail);
    if (!span_starts(rest, prev_key) ||
        !span_eq(span_sub(rest, tail - line_end.n, line_end.n), line_end))
        return TD_PARSE;
    return hex_dec(span_sub(rest, prev_key.n, 2 * SHA256_SIZE), prev, SHA256_SIZE);
}

static enum td_err lock(int fd, int wait_ms, struct errinfo *ei)
{
    for (;;) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return TD_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_sys(ei, TD_IO, errno, "cannot lock the audit log");
        if (wait_ms <= 0)
            return err_set(ei, TD_BUSY, "another testudo-signer works in this directory");
        poll(NULL, 0, LOCK_STEP_MS);
        wait_ms -= LOCK_STEP_MS;
    }
}

/* The last bytes of the file, as many as fit. */
static enum td_err read_tail(int fd, int64_t size, uint8_t *out, size_t cap, size_t *ret_n)
{
    size_t n = size < (int64_t)cap ? (size_t)size : cap;
    off_t from = (off_t)(size - (int64_t)n);
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(fd, out + got, n - got, from + (off_t)got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return TD_IO;
        got += (size_t)r;
    }
    *ret_n = n;
    return TD_OK;
}

/* Index behind the last newline before `end`, 0 when there is none. */
static size_t after_newline(const uint8_t *p, size_t end)
{
    while (end > 0 && p[end - 1] != '\n')
        end--;
    return end;
}

static enum td_err find_end(struct audit_log *l, struct errinfo *ei)
{
    struct stat st;
    if (fstat(l->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return err_set(ei, TD_IO, "the audit log is not a regular file");
    uint8_t tail[2 * LINE_MAX_BYTES];
    size_t n = 0;
    if (read_tail(l->fd, st.st_size, tail, sizeof tail, &n) != TD_OK)
        return err_sys(ei, TD_IO, errno, "cannot read the audit log");
    size_t end = after_newline(tail, n);
    l->size = st.st_size - (int64_t)(n - end);
    if (end == 0 && l->size > 0)
        return err_set(ei, TD_STATE, "the end of the audit log is not ours");
    if (l->size != st.st_size && (ftruncate(l->fd, l->size) != 0 || fdatasync(l->fd) != 0))
        return err_sys(ei, TD_IO, errno, "cannot remove the unfinished end of the audit log");
    if (end == 0)
        return TD_OK;
    size_t start = after_newline(tail, end - 1);
    uint8_t prev[SHA256_SIZE];
    if (parse_line(span_of(tail + start, end - start), &l->seq, prev) != TD_OK)
        return err_set(ei, TD_STATE, "the last line of the audit log is not ours");
    digest_sha256(span_of(tail + start, end - start), l->last);
    return TD_OK;
}

enum td_err audit_log_open(const char *path, int wait_ms, struct audit_log *ret, struct errinfo *ei)
{
    *ret = (struct audit_log){.fd = -1};
    buf_init(&ret->pending, PENDING_MAX);
    ret->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (ret->fd < 0)
        return err_sys(ei, TD_IO, errno, "cannot open %.100s", path);
    enum td_err e = lock(ret->fd, wait_ms, ei);
    if (e == TD_OK)
        e = find_end(ret, ei);
    if (e != TD_OK) {
        audit_log_close(ret);
        return e;
    }
    ret->pending_seq = ret->seq;
    memcpy(ret->pending_last, ret->last, SHA256_SIZE);
    return TD_OK;
}

void audit_log_close(struct audit_log *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    buf_free(&l->pending);
}

enum td_err audit_log_add(struct audit_log *l, const struct audit_entry *e, struct errinfo *ei)
{
    char at[CLOCK_TEXT_SIZE], spki[HASH_TEXT], evidence[HASH_TEXT] = "", prev[HASH_TEXT];
    char serial[2 * 20 + 1];
    if (e->serial.n > 20 || (e->evidence_sha256.n && e->evidence_sha256.n != SHA256_SIZE))
        return err_set(ei, TD_INTERNAL, "audit entry out of range");
    clock_text(e->at, at);
    hex_enc(e->serial, serial);
    hex_enc(SPAN_ARR(e->spki_sha256), spki);
    hex_enc(e->evidence_sha256, evidence);
    hex_enc(SPAN_ARR(l->pending_last), prev);
    size_t from = l->pending.n;
    enum td_err err = buf_printf(&l->pending,
                                 "{\"seq\":%llu,\"time\":\"%s\",\"profile\":\"%s\","
                                 "\"subject\":\"%s\",\"serial\":\"%s\",\"spki\":\"%s\","
                                 "\"evidence\":\"%s\",\"prev\":\"%s\"}\n",
                                 (unsigned long long)l->pending_seq + 1, at, e->profile, e->subject,
                                 serial, spki, evidence, prev);
    if (err != TD_OK || l->pending.n - from > LINE_MAX_BYTES)
        return err_set(ei, TD_INTERNAL, "audit entry too long");
    l->pending_seq++;
    digest_sha256(span_sub(buf_view(&l->pending), from, SIZE_MAX), l->pending_last);
    return TD_OK;
}

static bool write_all(int fd, struct span s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = span_sub(s, (size_t)n, SIZE_MAX);
    }
    return true;
}

enum td_err audit_log_flush(struct audit_log *l, struct errinfo *ei)
{
    if (l->pending.n == 0)
        return TD_OK;
    int64_t n = (int64_t)l->pending.n;
    bool written = write_all(l->fd, buf_view(&l->pending));
    int sys = errno;
    buf_reset(&l->pending);
    if (!written) {
        /* disk full, most likely: the lines are taken back and their certificates not handed out */
        l->pending_seq = l->seq;
        memcpy(l->pending_last, l->last, SHA256_SIZE);
        if (ftruncate(l->fd, l->size) != 0)
            return err_sys(ei, TD_STATE, errno, "cannot restore the audit log");
        return err_sys(ei, TD_IO, sys, "cannot write the audit log");
    }
    if (fdatasync(l->fd) != 0) /* what is on disk now nobody knows: read it anew */
        return err_sys(ei, TD_STATE, errno, "cannot sync the audit log");
    l->size += n;
    l->seq = l->pending_seq;
    memcpy(l->last, l->pending_last, SHA256_SIZE);
    return TD_OK;
}

enum td_err audit_log_verify(const char *path, audit_log_each each, void *ctx, uint64_t *ret_lines,
                             uint8_t ret_last[static SHA256_SIZE], struct errinfo *ei)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_sys(ei, TD_IO, errno, "cannot open %.100s", path);
    uint8_t last[SHA256_SIZE] = {0}, prev[SHA256_SIZE];
    uint64_t lines = 0, seq;
    char line[LINE_MAX_BYTES + 2];
    enum td_err e = TD_OK;
    while (e == TD_OK && fgets(line, sizeof line, f)) {
        struct span s = span_str(line);
        lines++;
        if (parse_line(s, &seq, prev) != TD_OK)
            e = err_set(ei, TD_STATE, "line %llu is not ours", (unsigned long long)lines);
        else if (seq != lines)
            e = err_set(ei, TD_STATE, "line %llu carries the number %llu",
                        (unsigned long long)lines, (unsigned long long)seq);
        else if (memcmp(prev, last, SHA256_SIZE) != 0)
            e = err_set(ei, TD_STATE, "the line before line %llu was changed",
                        (unsigned long long)lines);
        digest_sha256(s, last);
        if (e == TD_OK && each)
            e = each(ctx, lines, last, ei);
    }
    if (e == TD_OK && ferror(f))
        e = err_sys(ei, TD_IO, errno, "cannot read %.100s", path);
    fclose(f);
    TD_TRY(e);
    *ret_lines = lines;
    memcpy(ret_last, last, SHA256_SIZE);
    return TD_OK;
}
