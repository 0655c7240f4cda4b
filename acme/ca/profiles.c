#include "acme/ca/profiles.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "acme/signer/proto/profile_set.h"

struct ca_profiles {
    const char *dir; /* owned */
    struct store *store;
    const struct clock *clock;
    struct rng *rng;
    pthread_rwlock_t lock; /* guards all below */
    struct profile_set set;
    struct ca_policy policy[PROFILE_SET_MAX]; /* of set.all[i] */
};

struct names {
    char name[PROFILE_SET_MAX][PROFILE_NAME_MAX + 1];
    struct ca_policy policy[PROFILE_SET_MAX];
    size_t n;
};

static enum td_err read_policies(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct names *n = ctx;
    for (size_t i = 0; i < n->n; i++)
        TD_TRY(ca_policy_get(tx, n->name[i], &n->policy[i], ei));
    return TD_OK;
}

static void copy_names(const struct profile_set *set, struct names *n)
{
    n->n = set->n;
    for (size_t i = 0; i < set->n; i++)
        snprintf(n->name[i], sizeof n->name[i], "%s", set->all[i].name);
}

enum td_err ca_profiles_refresh(struct ca_profiles *ps, struct errinfo *ei)
{
    struct names *n = calloc(1, sizeof *n);
    if (!n)
        return err_set(ei, TD_NOMEM, "no memory");
    pthread_rwlock_rdlock(&ps->lock);
    copy_names(&ps->set, n);
    pthread_rwlock_unlock(&ps->lock);
    enum td_err e = store_read(ps->store, read_policies, n, ei);
    pthread_rwlock_wrlock(&ps->lock);
    for (size_t i = 0; e == TD_OK && i < n->n; i++) /* the set may have changed meanwhile */
        for (size_t k = 0; k < ps->set.n; k++)
            if (strcmp(n->name[i], ps->set.all[k].name) == 0)
                ps->policy[k] = n->policy[i];
    pthread_rwlock_unlock(&ps->lock);
    free(n);
    return e;
}

enum td_err ca_profiles_reload(struct ca_profiles *ps, struct errinfo *ei)
{
    struct profile_set fresh;
    struct names *n = calloc(1, sizeof *n);
    if (!n)
        return err_set(ei, TD_NOMEM, "no memory");
    enum td_err e = profile_set_load(ps->dir, &fresh, ei);
    if (e == TD_OK) {
        copy_names(&fresh, n);
        e = store_read(ps->store, read_policies, n, ei);
        if (e != TD_OK)
            profile_set_free(&fresh);
    }
    if (e == TD_OK) {
        pthread_rwlock_wrlock(&ps->lock);
        struct profile_set old = ps->set;
        ps->set = fresh;
        memcpy(ps->policy, n->policy, sizeof ps->policy);
        pthread_rwlock_unlock(&ps->lock);
        profile_set_free(&old);
    }
    free(n);
    return e;
}

enum td_err ca_profiles_open(const char *ca_dir, struct store *store, const struct clock *clock,
                             struct rng *rng, struct ca_profiles **ret, struct errinfo *ei)
{
    struct ca_profiles *ps = calloc(1, sizeof *ps);
    char *dir = strdup(ca_dir);
    if (!ps || !dir) {
        free(ps);
        free(dir);
        return err_set(ei, TD_NOMEM, "no memory");
    }
    ps->dir = dir;
    ps->store = store;
    ps->clock = clock;
    ps->rng = rng;
    pthread_rwlock_init(&ps->lock, NULL);
    enum td_err e = ca_profiles_reload(ps, ei);
    if (e != TD_OK) {
        ca_profiles_close(ps);
        return e;
    }
    *ret = ps;
    return TD_OK;
}

void ca_profiles_close(struct ca_profiles *ps)
{
    if (!ps)
        return;
    profile_set_free(&ps->set);
    pthread_rwlock_destroy(&ps->lock);
    free((void *)(uintptr_t)ps->dir);
    free(ps);
}

/* With the lock held: its place, or n. */
static size_t find(const struct ca_profiles *ps, const char *name)
{
    size_t i = 0;
    while (i < ps->set.n && strcmp(ps->set.all[i].name, name) != 0)
        i++;
    return i;
}

enum td_err ca_profiles_get(struct ca_profiles *ps, const char *name, struct ca_profile *ret)
{
    pthread_rwlock_rdlock(&ps->lock);
    size_t i = find(ps, name);
    bool found = i < ps->set.n;
    if (found) {
        *ret = (struct ca_profile){.access = strcmp(ps->set.all[i].purpose, "access") == 0,
                                   .attestation = ps->set.all[i].attestation,
                                   .enabled = ps->policy[i].enabled,
                                   .eab_required = ps->policy[i].eab_required,
                                   .renew = ps->set.all[i].renew};
        snprintf(ret->hardware, sizeof ret->hardware, "%s", ps->set.all[i].hardware);
    }
    pthread_rwlock_unlock(&ps->lock);
    return found ? TD_OK : TD_NOTFOUND;
}

static enum td_err unknown(struct errinfo *ei, enum td_err e)
{
    return err_reason(ei, e, "profile-unknown", "no such certificate profile");
}

enum td_err ca_profiles_allows(struct ca_profiles *ps, struct tx *tx, const char *name,
                               const struct ca_candidate *c, struct errinfo *ei)
{
    struct ca_profile p;
    struct ca_policy policy;
    if (ca_profiles_get(ps, name, &p) != TD_OK)
        return unknown(ei, TD_FORBIDDEN);
    TD_TRY(ca_policy_get(tx, name, &policy, ei));
    return ca_policy_allows(&policy, c, ei);
}

struct set_job {
    const char *name, *actor;
    char txn[RNG_ID_SIZE];
    struct ca_policy in, out;
    int64_t if_match, now;
};

static enum td_err set_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct set_job *j = ctx;
    j->out = j->in;
    return ca_policy_put(tx, j->name, &j->out, j->if_match, j->now, j->actor, j->txn, ei);
}

enum td_err ca_profiles_set(struct ca_profiles *ps, const char *name, struct ca_policy *p,
                            int64_t if_match, const char *actor, struct errinfo *ei)
{
    struct ca_profile known;
    if (ca_profiles_get(ps, name, &known) != TD_OK)
        return unknown(ei, TD_NOTFOUND);
    TD_TRY(ca_policy_judge(p, ei));
    struct set_job j = {.name = name, .actor = actor, .in = *p, .if_match = if_match};
    j.now = clock_now(ps->clock);
    rng_id(ps->rng, j.txn);
    TD_TRY(store_write(ps->store, set_tx, &j, ei));
    *p = j.out;
    return ca_profiles_refresh(ps, ei);
}

enum td_err ca_profiles_each(struct ca_profiles *ps, const char *only,
                             void (*fn)(void *ctx, const struct profile_conf *conf,
                                        const struct ca_policy *policy),
                             void *ctx)
{
    bool found = !only;
    pthread_rwlock_rdlock(&ps->lock);
    for (size_t i = 0; i < ps->set.n; i++) {
        if (only && strcmp(only, ps->set.all[i].name) != 0)
            continue;
        fn(ctx, &ps->set.all[i], &ps->policy[i]);
        found = true;
    }
    pthread_rwlock_unlock(&ps->lock);
    return found ? TD_OK : TD_NOTFOUND;
}
