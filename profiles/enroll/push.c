#include "profiles/enroll/push.h"

#include <string.h>

#include "mdm/base/limits.h"
#include "mdm/store/audit.h"
#include "profiles/enroll/enroll_int.h"

#define PROFILE_MAX 65536
#define PUSH_TTL                                                                                   \
    (INT64_C(7) * 86400) /* a device may be away for days before it fetches a command */

static enum td_err need_ops(const struct enroll *e, struct errinfo *ei)
{
    const struct enroll_ops *o = &e->conf.ops;
    if (o->client_id_renewal && o->profile_allows && o->profile_newest)
        return TD_OK;
    return err_set(ei, TD_UNSUPPORTED, "identities are not pushed by this server");
}

static struct plist *command(const char *type, struct arena *a)
{
    struct plist *d = plist_new_dict(a);
    return d && plist_set_str(d, "RequestType", type) == TD_OK ? d : NULL;
}

/* InstallProfile with the signed profile inside. */
static enum td_err prepare_install(struct enroll *e, struct core *core, struct span xml,
                                   const char *actor, struct arena *a, struct core_prepared *ret,
                                   struct errinfo *ei)
{
    struct span cms;
    TD_TRY(e->conf.ops.sign(e->conf.ops.ctx, xml, a, &cms, ei));
    struct plist *d = command("InstallProfile", a);
    if (!d || plist_set_data(d, "Payload", cms) != TD_OK)
        return err_set(ei, TD_NOMEM, "no memory for a command");
    return core_prepare(core, d, NULL, actor, a, ret, ei);
}

static enum td_err listed(struct enroll *e, struct tx *tx, const char *serial, struct errinfo *ei)
{
    enum td_err r = e->conf.ops.device_listed(e->conf.ops.ctx, tx, serial, ei);
    return r == TD_NOTFOUND ? err_reason(ei, TD_NOTFOUND, "device-not-listed",
                                         "the device is not in the inventory")
                            : r;
}

struct push {
    struct enroll *e;
    const char *serial, *client_id, *actor;
    const struct enroll_access *access; /* assign: what is remembered */
    const struct enroll_renewal *renewal;
    struct core_prepared cmd;
    int64_t expires;
};

/* The newest certificate of the profile is what the new one takes the place of. */
static enum td_err add_id(struct push *p, struct tx *tx, const char *profile, struct span renews,
                          struct errinfo *ei)
{
    const struct enroll_ops *o = &p->e->conf.ops;
    return o->client_id_renewal(o->ctx, tx, p->client_id, p->serial, profile, renews, p->cmd.now,
                                p->expires, ei);
}

static enum td_err assign_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct push *p = ctx;
    const struct enroll_ops *o = &p->e->conf.ops;
    const struct enroll_access *x = p->access;
    arena_auto a;
    arena_init(&a, 65536);
    struct span renews;
    TD_TRY(listed(p->e, tx, p->serial, ei));
    TD_TRY(o->profile_allows(o->ctx, tx, x->profile, true, p->serial, ei));
    TD_TRY(tx_exec(tx, &enroll_sql[ENROLL_SQL_ASSIGN],
                   SV_LIST(SV_TEXT(p->serial), SV_TEXT(x->profile), SV_TEXT(x->wifi_ssid),
                           SV_TEXT(x->wifi_servers), SV_TEXT(p->actor), SV_INT(p->cmd.now)),
                   NULL, ei));
    TD_TRY(o->profile_newest(o->ctx, tx, p->serial, x->profile, &a, &renews, ei));
    TD_TRY(add_id(p, tx, x->profile, renews, ei));
    TD_TRY(core_enqueue_in(tx, p->serial, &p->cmd, ei));
    return audit_add(tx, p->cmd.now, p->cmd.txn, p->actor, "profile.assign", p->serial, x->profile,
                     ei);
}

static enum td_err push_access(struct push *p, struct core *core, const struct enroll_access *x,
                               struct arena *a, struct errinfo *ei)
{
    buf_auto xml;
    buf_init(&xml, PROFILE_MAX);
    TD_TRY(enroll_compose_access(p->e, p->serial, x, p->client_id, a, &xml, ei));
    return prepare_install(p->e, core, buf_view(&xml), p->actor, a, &p->cmd, ei);
}

enum td_err enroll_assign(struct enroll *e, struct core *core, const char *serial,
                          const struct enroll_access *x, const char *actor,
                          char ret_uuid[static UUID_SIZE], struct errinfo *ei)
{
    char client_id[RNG_TOKEN_SIZE];
    arena_auto a;
    arena_init(&a, LIMIT_REQ_ARENA);
    TD_TRY(need_ops(e, ei));
    rng_token(e->conf.rng, client_id);
    struct push p = {.e = e, .serial = serial, .client_id = client_id, .access = x, .actor = actor};
    enum td_err r = push_access(&p, core, x, &a, ei);
    p.expires = p.cmd.now + PUSH_TTL;
    if (r == TD_OK)
        r = store_write(e->conf.store, assign_job, &p, ei);
    explicit_bzero(client_id, sizeof client_id);
    if (r != TD_OK)
        return r;
    core_wake(core);
    memcpy(ret_uuid, p.cmd.uuid, UUID_SIZE);
    return TD_OK;
}

struct unassign {
    const char *serial, *profile, *actor;
    struct core_prepared cmd;
    enum td_err (*also)(struct tx *tx, void *ctx, const char *txn, struct errinfo *ei);
    void *ctx;
};

static enum td_err unassign_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct unassign *u = ctx;
    int64_t n = 0;
    struct errinfo why = {0};
    TD_TRY(tx_exec(tx, &enroll_sql[ENROLL_SQL_UNASSIGN],
                   SV_LIST(SV_TEXT(u->serial), SV_TEXT(u->profile)), &n, ei));
    if (n == 0)
        return err_reason(ei, TD_NOTFOUND, "not-assigned", "the device has no such profile");
    if (u->also)
        TD_TRY(u->also(tx, u->ctx, u->cmd.txn, ei));
    enum td_err e = core_enqueue_in(tx, u->serial, &u->cmd, &why);
    if (e != TD_OK && e != TD_NOTFOUND && e != TD_STATE) {
        if (ei)
            *ei = why;
        return e;
    }
    return audit_add(tx, u->cmd.now, u->cmd.txn, u->actor, "profile.unassign", u->serial,
                     u->profile, ei);
}

enum td_err enroll_unassign(struct enroll *e, struct core *core, const char *serial,
                            const char *profile, const char *actor,
                            enum td_err (*also)(struct tx *tx, void *ctx, const char *txn,
                                                struct errinfo *ei),
                            void *ctx, struct errinfo *ei)
{
    arena_auto a;
    arena_init(&a, 1 << 20);
    struct unassign u = {
        .serial = serial, .profile = profile, .actor = actor, .also = also, .ctx = ctx};
    struct plist *d = command("RemoveProfile", &a);
    const char *identifier = enroll_access_identifier(e, profile, &a);
    if (!d || !identifier || plist_set_str(d, "Identifier", identifier) != TD_OK)
        return err_set(ei, TD_NOMEM, "no memory for a command");
    TD_TRY(core_prepare(core, d, NULL, actor, &a, &u.cmd, ei));
    TD_TRY(store_write(e->conf.store, unassign_job, &u, ei));
    core_wake(core);
    return TD_OK;
}

static enum td_err copy_access(const struct cur *c, struct arena *a, struct enroll_access *ret)
{
    const char **text[] = {&ret->profile, &ret->wifi_ssid, &ret->wifi_servers, &ret->created_by};
    for (size_t i = 0; i < TD_NITEMS(text); i++) {
        *text[i] = cur_dup(c, (int)i, a);
        if (!*text[i])
            return TD_NOMEM;
    }
    ret->created_at = cur_int(c, 4);
    return TD_OK;
}

enum td_err enroll_assigned(struct tx *tx, const char *serial, struct arena *a,
                            struct enroll_access *ret, size_t *ret_n, struct errinfo *ei)
{
    struct cur c;
    enum td_err e;
    *ret_n = 0;
    TD_TRY(tx_query(tx, &enroll_sql[ENROLL_SQL_ASSIGNMENTS], SV_LIST(SV_TEXT(serial)), &c, ei));
    while ((e = cur_next(&c, ei)) == TD_OK && *ret_n < ENROLL_ACCESS_MAX) {
        e = copy_access(&c, a, &ret[*ret_n]);
        if (e != TD_OK)
            break;
        ++*ret_n;
    }
    cur_end(&c);
    return e == TD_NOTFOUND ? TD_OK : e;
}

enum td_err enroll_unassign_all(struct tx *tx, const char *serial, struct errinfo *ei)
{
    return tx_exec(tx, &enroll_sql[ENROLL_SQL_UNASSIGN_ALL], SV_LIST(SV_TEXT(serial)), NULL, ei);
}

/* --- renewal --- */

struct look {
    const struct enroll_renewal *r;
    struct arena *a;
    struct enroll_access access;
};

static enum td_err look_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct look *l = ctx;
    struct cur c;
    enum td_err e = tx_row(tx, &enroll_sql[ENROLL_SQL_ASSIGNED],
                           SV_LIST(SV_TEXT(l->r->serial), SV_TEXT(l->r->profile)), &c, ei);
    if (e == TD_NOTFOUND)
        return err_reason(ei, TD_NOTFOUND, "not-assigned", "the access identity is not wanted");
    TD_TRY(e);
    l->access = (struct enroll_access){.profile = l->r->profile,
                                       .wifi_ssid = cur_dup(&c, 0, l->a),
                                       .wifi_servers = cur_dup(&c, 1, l->a)};
    cur_end(&c);
    return l->access.wifi_ssid && l->access.wifi_servers ? TD_OK
                                                         : err_set(ei, TD_NOMEM, "no memory");
}

static enum td_err renew_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct push *p = ctx;
    const struct enroll_ops *o = &p->e->conf.ops;
    const struct enroll_renewal *r = p->renewal;
    TD_TRY(r->claim(tx, r->ctx, p->cmd.uuid, ei));
    TD_TRY(listed(p->e, tx, p->serial, ei));
    TD_TRY(o->profile_allows(o->ctx, tx, r->profile, r->access, p->serial, ei));
    TD_TRY(add_id(p, tx, r->profile, r->renews, ei));
    return core_enqueue_in(tx, p->serial, &p->cmd, ei);
}

static enum td_err prepare_renewal(struct push *p, struct core *core, struct arena *a,
                                   struct errinfo *ei)
{
    struct look l = {.r = p->renewal, .a = a};
    if (p->renewal->access) {
        TD_TRY(store_read(p->e->conf.store, look_job, &l, ei));
        return push_access(p, core, &l.access, a, ei);
    }
    buf_auto xml;
    buf_init(&xml, PROFILE_MAX);
    TD_TRY(enroll_compose(p->e, p->serial, p->client_id, a, &xml, ei));
    return prepare_install(p->e, core, buf_view(&xml), p->actor, a, &p->cmd, ei);
}

enum td_err enroll_renew(struct enroll *e, struct core *core, const struct enroll_renewal *r,
                         struct errinfo *ei)
{
    char client_id[RNG_TOKEN_SIZE];
    arena_auto a;
    arena_init(&a, LIMIT_REQ_ARENA);
    TD_TRY(need_ops(e, ei));
    rng_token(e->conf.rng, client_id);
    struct push p = {.e = e,
                     .serial = r->serial,
                     .client_id = client_id,
                     .renewal = r,
                     .actor = "renewal",
                     .expires = r->expires};
    enum td_err x = prepare_renewal(&p, core, &a, ei);
    if (x == TD_OK)
        x = store_write(e->conf.store, renew_job, &p, ei);
    explicit_bzero(client_id, sizeof client_id);
    if (x == TD_OK)
        core_wake(core);
    return x;
}
