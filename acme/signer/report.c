#include "acme/signer/report.h"

#include "acme/signer/cadir.h"
#include "acme/signer/proto/issuer_life.h"
#include "mdm/base/clock.h"
#include "mdm/base/hex.h"

#define ARENA_MAX (1 << 20)

struct report {
    const char *dir;
    struct buf *b;
    struct cert *root, *active;
    struct arena arena;
    bool pem;
};

static enum td_err put(struct report *r, const char *what, const char *state, const char *key_path,
                       const struct cert *c, struct errinfo *ei)
{
    uint8_t id[CERT_SKI_SIZE] = {0};
    char hex[2 * CERT_SKI_SIZE + 1];
    enum keyfile_kind kind;
    if (r->pem)
        return cert_to_pem(c, r->b);
    TD_TRY(keyfile_look(key_path, &kind, ei));
    (void)cert_ski(c, id);
    hex_enc(SPAN_ARR(id), hex);
    char *subject = cert_subject_text(c, &r->arena);
    if (!subject)
        return err_set(ei, TD_NOMEM, "no memory");
    return buf_printf(r->b, "%s id=%s state=%s key=%s not_before=%lld not_after=%lld subject=%s\n",
                      what, hex, state, keyfile_word(kind), (long long)cert_not_before(c),
                      (long long)cert_not_after(c), subject);
}

static enum td_err put_issuing(struct report *r, const char *state, const struct cert *c,
                               struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    uint8_t id[CERT_SKI_SIZE];
    if (!cert_ski(c, id))
        return err_set(ei, TD_CRYPTO, "an issuing CA has no key identifier of 20 octets");
    TD_TRY(cert_check_issued(c, r->root, ei));
    TD_TRY(cadir_key_path(r->dir, id, path, ei));
    int64_t now = clock_now(&clock_system);
    if (issuer_life(c, now, NULL) != TD_OK)
        state = cert_not_after(c) <= now ? "expired" : "early";
    return put(r, "issuing", state, path, c, ei);
}

static enum td_err put_older(void *ctx, const char *name, struct errinfo *ei)
{
    struct report *r = ctx;
    cert_auto *c = NULL;
    TD_TRY(cadir_read_cert(r->dir, name, &c, ei));
    if (r->active && span_eq(cert_der(c), cert_der(r->active)))
        return TD_OK;
    return put_issuing(r, "retired", c, ei);
}

static enum td_err put_standby(void *ctx, const char *name, struct errinfo *ei)
{
    struct report *r = ctx;
    cert_auto *c = NULL;
    if (!cadir_stands_by(r->dir, name, r->active))
        return TD_OK;
    TD_TRY(cadir_read_cert(r->dir, name, &c, ei));
    return put_issuing(r, "standby", c, ei);
}

static enum td_err put_all_issuing(struct report *r, struct errinfo *ei)
{
    enum td_err e = cadir_read_cert(r->dir, cadir_name(CADIR_ISSUING_CERT), &r->active, ei);
    if (e == TD_NOTFOUND)
        return TD_OK; /* one that waits for its first */
    TD_TRY(e);
    TD_TRY(put_issuing(r, "active", r->active, ei));
    TD_TRY(cadir_each(r->dir, CADIR_STANDBY, put_standby, r, ei));
    return cadir_each(r->dir, ".crt", put_older, r, ei);
}

static enum td_err put_rest(struct report *r, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    enum keyfile_kind kind;
    struct cadir_conf conf;
    TD_TRY(cadir_path(r->dir, CADIR_PENDING_KEY, path, ei));
    TD_TRY(keyfile_look(path, &kind, ei));
    if (kind != KEYFILE_ABSENT)
        buf_printf(r->b, "pending key=%s\n", keyfile_word(kind));
    TD_TRY(cadir_read_conf(r->dir, &r->arena, &conf, ei));
    struct profile_set profiles = {.n = 0};
    TD_TRY(profile_set_load(r->dir, &profiles, ei));
    int64_t longest = cadir_longest(&conf, &profiles);
    profile_set_free(&profiles);
    return buf_printf(r->b, "lifetimes longest=%lld\n", (long long)longest);
}

static enum td_err fill(struct report *r, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    TD_TRY(cadir_path(r->dir, CADIR_ROOT_KEY, path, ei));
    TD_TRY(cadir_read_cert(r->dir, cadir_name(CADIR_ROOT_CERT), &r->root, ei));
    if (!r->pem)
        TD_TRY(put(r, "root", "root", path, r->root, ei));
    TD_TRY(put_all_issuing(r, ei));
    return r->pem ? put(r, "root", "root", path, r->root, ei) : put_rest(r, ei);
}

static enum td_err run(struct report *r, struct errinfo *ei)
{
    enum cadir_state state = cadir_look(r->dir);
    if (state == CADIR_EMPTY || state == CADIR_PART)
        return err_set(ei, TD_NOTFOUND, "%.120s holds no complete CA", r->dir);
    arena_init(&r->arena, ARENA_MAX);
    enum td_err e = fill(r, ei);
    cert_free(r->root);
    cert_free(r->active);
    arena_free(&r->arena);
    return e == TD_OK ? r->b->err : e;
}

enum td_err report_status(const char *dir, struct buf *b, struct errinfo *ei)
{
    struct report r = {.dir = dir, .b = b};
    return run(&r, ei);
}

enum td_err report_chain(const char *dir, struct buf *b, struct errinfo *ei)
{
    struct report r = {.dir = dir, .b = b, .pem = true};
    return run(&r, ei);
}
