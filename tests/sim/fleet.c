#include "tests/sim/fleet.h"

#include "mdm/base/fs.h"
#include "tests/sim/api.h"
#include "tests/sim/bench.h"
#include "tests/sim/csv.h"
#include "tests/sim/pool.h"
#include "tests/sim/stats.h"

#include <stdlib.h>

enum { CSV_MAX = 67108864, LIST_ARENA = 268435456, INVITE_ARENA = 65536, AGAIN_US = 20000 };

/* Everything about one run over the fleet; shared by the threads. */
struct run {
    struct enroll_ctx *c;
    const struct opts *o;
    struct arena a;
    struct csv_device *devices;
    size_t n, skipped;
    struct stats_hist invite, phase[ENROLL_PHASES], session;
    struct stats_causes causes;
    _Atomic uint64_t again; /* enrolments begun anew */
    _Atomic uint64_t retries, commands, notnow, cmd_errors, removed, gone;
    struct api *apis; /* one kept connection per thread */
};

/* --- the list of devices --- */

static enum td_err made_up(struct run *r, struct errinfo *ei)
{
    size_t n = (size_t)r->o->count;
    r->devices = arena_alloc(&r->a, n * sizeof(*r->devices));
    for (size_t i = 0; r->devices && i < n; i++) {
        const char *s = arena_printf(&r->a, "%s%07zu", r->o->prefix, i + 1);
        if (!s)
            return err_set(ei, TD_NOMEM, "no memory");
        r->devices[i] = (struct csv_device){s, ""};
    }
    r->n = n;
    return r->devices ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

static enum td_err load_list(struct run *r, bool resume, struct errinfo *ei)
{
    size_t kept = 0;
    if (r->o->inventory) {
        buf_auto b;
        TD_TRY(fs_read(r->o->inventory, CSV_MAX, &b, ei));
        struct span text = arena_span(&r->a, buf_view(&b));
        TD_TRY(csv_devices(text, &r->a, &r->devices, &r->n, ei));
    } else if (r->o->count) {
        TD_TRY(made_up(r, ei));
    } else {
        return err_set(ei, TD_INVAL, "which devices? --inventory FILE or --count N");
    }
    for (size_t i = 0; i < r->n; i++) {
        if (!resume || !device_known(r->o->state, r->devices[i].serial))
            r->devices[kept++] = r->devices[i];
    }
    r->skipped = r->n - kept;
    r->n = kept;
    return TD_OK;
}

/* --- one enrolment --- */

static void failed(struct run *r, const struct refusal *why, const struct errinfo *ei,
                   enum td_err e)
{
    char text[384];
    if (why->step)
        snprintf(text, sizeof(text), "%s: %d %s%s%s", why->step, why->status, why->type,
                 why->type[0] && why->detail[0] ? ": " : "", why->detail);
    else
        snprintf(text, sizeof(text), "%s", err_msg(ei, e));
    stats_cause(&r->causes, text);
}

static enum td_err invite(struct run *r, const struct device *d, struct api *api, struct arena *a,
                          const char **ret_url, struct errinfo *ei)
{
    uint64_t t0 = stats_now_us();
    if (r->o->put_inventory)
        TD_TRY(api_put_device(api, d->serial, d->model_name, d->name, ei));
    TD_TRY(api_invite(api, d->serial, a, ret_url, ei));
    stats_add(&r->invite, stats_now_us() - t0);
    return TD_OK;
}

static enum td_err enroll_once(struct run *r, struct device *d, struct api *api,
                               struct refusal *why, struct errinfo *ei)
{
    uint64_t us[ENROLL_PHASES];
    const char *url = NULL;
    arena_auto a;
    arena_init(&a, INVITE_ARENA);
    enum td_err e = invite(r, d, api, &a, &url, ei);
    if (e != TD_OK) {
        *why = api->why;
        return e;
    }
    e = enroll_run(r->c, d, url, us, why, ei);
    for (size_t p = 0; p < ENROLL_PHASES; p++) {
        if (us[p])
            stats_add(&r->phase[p], us[p]);
    }
    return e != TD_OK ? e : device_save(d, r->o->state, ei);
}

/* Apple's clients do not repeat a request of an enrolment that got no answer: whoever holds the
 * device begins anew, with another invitation. With --retry that is done here, also behind a stop
 * of the run: what was begun ends well or in its own time. */
static enum td_err enroll_item(struct run *r, struct device *d, struct api *api,
                               struct refusal *why, struct errinfo *ei)
{
    uint64_t until = stats_now_us() + (uint64_t)r->o->retry * 1000000;
    for (;;) {
        enum td_err e = enroll_once(r, d, api, why, ei);
        if (!r->o->retry || e == TD_OK || !http_try_again(e, why->status) || stats_now_us() > until)
            return e;
        pool_pause(AGAIN_US);
        atomic_fetch_add(&r->again, 1);
        *why = (struct refusal){0};
        *ei = (struct errinfo){0};
    }
}

static bool enroll_one(void *ctx, size_t i, unsigned thread)
{
    struct run *r = ctx;
    struct errinfo ei = {0};
    struct refusal why = {0};
    device_auto d;
    enum td_err e = device_init(&d, r->devices[i].serial, r->devices[i].model, &ei);
    if (e == TD_OK && r->o->posture)
        e = posture_set(&d.posture, r->o->posture, &ei);
    if (e == TD_OK)
        e = enroll_item(r, &d, &r->apis[thread], &why, &ei);
    if (e != TD_OK)
        failed(r, &why, &ei, e);
    return e == TD_OK;
}

static void rate_json(struct json_w *w, const char *key, double v)
{
    char text[32];
    snprintf(text, sizeof(text), "%.3f", v);
    json_kv_raw(w, key, span_str(text));
}

static void fleet_summary(struct run *r, const struct pool *p, double cpu_s)
{
    double s = (double)(stats_now_us() - p->t0_us) / 1e6;
    uint64_t bad = atomic_load(&p->failed), good = atomic_load(&p->done) - bad;
    double per_s = s > 0 ? (double)good / s : 0;
    if (r->o->json) {
        struct json_w w;
        buf_auto b;
        buf_init(&b, 1048576);
        json_w_init(&w, &b);
        json_open(&w);
        json_kv_int(&w, "enrolled", (int64_t)good);
        json_kv_int(&w, "failed", (int64_t)bad);
        json_kv_int(&w, "skipped", (int64_t)r->skipped);
        json_kv_int(&w, "begun_anew", (int64_t)atomic_load(&r->again));
        json_kv_int(&w, "not_started", (int64_t)(r->n - good - bad));
        rate_json(&w, "seconds", s);
        rate_json(&w, "enrolments_per_second", per_s);
        rate_json(&w, "simulator_cpu_seconds", cpu_s);
        json_open_key(&w, "latency");
        stats_hist_json(&w, "invite", &r->invite);
        for (size_t i = 0; i < ENROLL_PHASES; i++)
            stats_hist_json(&w, enroll_phase_name((enum enroll_phase)i), &r->phase[i]);
        json_close(&w);
        stats_causes_json(&w, "failures", &r->causes);
        json_close(&w);
        printf("%s\n", buf_cstr(&b));
        return;
    }
    printf("enrolled %llu, failed %llu, skipped %zu in %.2f s: %.1f/s (simulator CPU %.2f s)\n",
           (unsigned long long)good, (unsigned long long)bad, r->skipped, s, per_s, cpu_s);
    stats_hist_print(stdout, "invite", &r->invite);
    for (size_t i = 0; i < ENROLL_PHASES; i++)
        stats_hist_print(stdout, enroll_phase_name((enum enroll_phase)i), &r->phase[i]);
    stats_causes_print(stdout, &r->causes);
}

static enum td_err need(const char *value, const char *option, struct errinfo *ei)
{
    return value ? TD_OK : err_set(ei, TD_INVAL, "%s is missing", option);
}

static enum td_err run_open(struct run *r, struct enroll_ctx *c, const struct opts *o,
                            struct errinfo *ei)
{
    memset(r, 0, sizeof(*r));
    r->c = c;
    r->o = o;
    arena_init(&r->a, LIST_ARENA);
    stats_causes_init(&r->causes);
    TD_TRY(need(o->state, "--state DIR", ei));
    TD_TRY(need(o->cacert, "--cacert FILE", ei));
    TD_TRY(fs_mkdir(o->state, 0700, ei));
    return enroll_ctx_open(o, c, ei);
}

static enum td_err apis_open(struct run *r, struct errinfo *ei)
{
    r->apis = calloc((size_t)r->o->threads, sizeof(*r->apis));
    if (!r->apis)
        return err_set(ei, TD_NOMEM, "no memory");
    for (int64_t i = 0; i < r->o->threads; i++) {
        api_init(&r->apis[i], r->c->tls, r->o->api, r->c->token, enroll_timeout_ms(r->o));
        r->apis[i].http.retry_ms = enroll_retry_ms(r->o);
    }
    return TD_OK;
}

static void run_close(struct run *r)
{
    for (int64_t i = 0; r->apis && i < r->o->threads; i++)
        api_free(&r->apis[i]);
    free(r->apis);
    arena_free(&r->a);
    enroll_ctx_close(r->c);
}

static enum td_err enroll_fleet(struct run *r, bool resume, uint64_t *ret_failed,
                                struct errinfo *ei)
{
    TD_TRY(need(r->o->api, "--api URL", ei));
    TD_TRY(need(r->o->token_file, "--token-file FILE", ei));
    TD_TRY(need(r->o->pki, "--pki DIR", ei));
    TD_TRY(load_list(r, resume, ei));
    TD_TRY(apis_open(r, ei));
    struct pool p = {.n = r->n,
                     .threads = (unsigned)r->o->threads,
                     .rate = r->o->rate,
                     .verb = r->o->quiet ? NULL : "enrolled",
                     .fn = enroll_one,
                     .ctx = r};
    double cpu = stats_cpu_s();
    if (r->n)
        TD_TRY(pool_run(&p, ei));
    else
        p.t0_us = stats_now_us();
    *ret_failed = atomic_load(&p.failed) + (r->n - atomic_load(&p.done));
    fleet_summary(r, &p, stats_cpu_s() - cpu);
    return TD_OK;
}

enum td_err fleet_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    struct run *r = calloc(1, sizeof(*r));
    struct enroll_ctx c = {0};
    uint64_t bad = 0;
    if (!r)
        return err_set(ei, TD_NOMEM, "no memory");
    enum td_err e = run_open(r, &c, o, ei);
    if (e == TD_OK)
        e = enroll_fleet(r, o->resume, &bad, ei);
    run_close(r);
    free(r);
    *ret_code = bad ? 1 : 0;
    return e;
}

/* --- one device by hand --- */

enum td_err fleet_enroll_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    uint64_t us[ENROLL_PHASES];
    struct refusal why = {0};
    enroll_ctx_auto c = {0};
    device_auto d = {0};
    TD_TRY(need(o->url, "--url URL", ei));
    TD_TRY(need(o->serial, "--serial S", ei));
    TD_TRY(need(o->state, "--state DIR", ei));
    TD_TRY(need(o->cacert, "--cacert FILE", ei));
    TD_TRY(need(o->pki, "--pki DIR", ei));
    TD_TRY(enroll_ctx_open(o, &c, ei));
    TD_TRY(fs_mkdir(o->state, 0700, ei));
    TD_TRY(device_init(&d, o->serial, o->model, ei));
    if (o->posture)
        TD_TRY(posture_set(&d.posture, o->posture, ei));
    TD_TRY(enroll_run(&c, &d, o->url, us, &why, ei));
    TD_TRY(device_save(&d, o->state, ei));
    printf("%s enrolled:", d.serial);
    for (size_t i = 0; i < ENROLL_PHASES; i++)
        printf(" %s %.1f ms%s", enroll_phase_name((enum enroll_phase)i), (double)us[i] / 1000.0,
               i + 1 < ENROLL_PHASES ? "," : "\n");
    *ret_code = 0;
    return TD_OK;
}

/* --- connects --- */

static enum td_err connect_device(struct run *r, struct device *d, struct refusal *why,
                                  struct errinfo *ei)
{
    mdm_auto m;
    enum td_err e = TD_OK;
    mdm_init(&m, d, r->c->tls, r->c->pki, enroll_auth(r->o), enroll_timeout_ms(r->o));
    m.http.retry_ms = enroll_retry_ms(r->o);
    m.notnow = r->o->notnow;
    m.nnotnow = r->o->nnotnow;
    m.env.key_size = (int)r->o->key_size;
    m.env.lose = r->o->lose_identity;
    for (int64_t i = 0; e == TD_OK && i < r->o->loops && !d->removed && !pool_stopped(); i++) {
        struct mdm_counts n = {0};
        bool changed = false;
        uint64_t t0 = stats_now_us();
        e = mdm_session(&m, &n, &changed, ei);
        stats_add(&r->session, stats_now_us() - t0);
        atomic_fetch_add(&r->commands, n.commands);
        atomic_fetch_add(&r->notnow, n.notnow);
        atomic_fetch_add(&r->cmd_errors, n.errors);
        atomic_fetch_add(&r->retries, m.http.retries);
        m.http.retries = 0;
        if (d->removed)
            atomic_fetch_add(&r->removed, 1);
        struct errinfo save = {0};
        if (changed && device_save(d, r->o->state, &save) != TD_OK && e == TD_OK)
            e = err_set(ei, TD_IO, "%s", err_msg(&save, TD_IO));
    }
    *why = m.why;
    return e;
}

static bool connect_one(void *ctx, size_t i, unsigned thread)
{
    struct run *r = ctx;
    struct errinfo ei = {0};
    struct refusal why = {0};
    device_auto d = {0};
    (void)thread;
    enum td_err e = device_load(&d, r->o->state, r->devices[i].serial, &ei);
    if (e == TD_OK && r->o->posture) { /* it stays so for later runs */
        e = posture_set(&d.posture, r->o->posture, &ei);
        if (e == TD_OK)
            e = device_save(&d, r->o->state, &ei);
    }
    if (e == TD_OK && d.removed)
        atomic_fetch_add(&r->gone, 1);
    else if (e == TD_OK)
        e = connect_device(r, &d, &why, &ei);
    if (e != TD_OK)
        failed(r, &why, &ei, e);
    return e == TD_OK;
}

static enum td_err connect_list(struct run *r, const char *serial, struct errinfo *ei)
{
    char **list = NULL;
    size_t n = 0;
    if (!serial)
        TD_TRY(device_list(r->o->state, &r->a, &list, &n, ei));
    r->devices = arena_alloc(&r->a, (n + 1) * sizeof(*r->devices));
    if (!r->devices)
        return err_set(ei, TD_NOMEM, "no memory");
    for (size_t i = 0; i < n; i++)
        r->devices[i] = (struct csv_device){list[i], ""};
    if (serial)
        r->devices[0] = (struct csv_device){serial, ""};
    r->n = serial ? 1 : n;
    return r->n ? TD_OK : err_set(ei, TD_NOTFOUND, "no devices in %s", r->o->state);
}

static void connect_summary(struct run *r, const struct pool *p)
{
    uint64_t bad = atomic_load(&p->failed), gone = atomic_load(&r->gone);
    uint64_t good = atomic_load(&p->done) - bad - gone;
    if (r->o->json) {
        struct json_w w;
        buf_auto b;
        buf_init(&b, 1048576);
        json_w_init(&w, &b);
        json_open(&w);
        json_kv_int(&w, "connected", (int64_t)good);
        json_kv_int(&w, "failed", (int64_t)bad);
        json_kv_int(&w, "commands", (int64_t)atomic_load(&r->commands));
        json_kv_int(&w, "command_errors", (int64_t)atomic_load(&r->cmd_errors));
        json_kv_int(&w, "notnow", (int64_t)atomic_load(&r->notnow));
        json_kv_int(&w, "removed", (int64_t)atomic_load(&r->removed));
        json_kv_int(&w, "gone", (int64_t)gone);
        json_kv_int(&w, "retries", (int64_t)atomic_load(&r->retries));
        stats_hist_json(&w, "session", &r->session);
        stats_causes_json(&w, "failures", &r->causes);
        json_close(&w);
        printf("%s\n", buf_cstr(&b));
        return;
    }
    printf(
        "connected %llu, failed %llu; commands %llu (errors %llu, NotNow %llu), removed %llu, gone "
        "before %llu\n",
        (unsigned long long)good, (unsigned long long)bad,
        (unsigned long long)atomic_load(&r->commands),
        (unsigned long long)atomic_load(&r->cmd_errors),
        (unsigned long long)atomic_load(&r->notnow), (unsigned long long)atomic_load(&r->removed),
        (unsigned long long)gone);
    stats_hist_print(stdout, "session", &r->session);
    stats_causes_print(stdout, &r->causes);
}

static enum td_err connect_all(struct run *r, const char *serial, struct pool *ret,
                               struct errinfo *ei)
{
    TD_TRY(connect_list(r, serial, ei));
    *ret =
        (struct pool){.n = r->n, .threads = (unsigned)r->o->threads, .fn = connect_one, .ctx = r};
    return pool_run(ret, ei);
}

enum td_err fleet_connect_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    struct enroll_ctx c = {0};
    struct pool p = {0};
    if (!o->serial && !o->all && !o->bench && !o->duration)
        return err_set(ei, TD_INVAL, "which devices? --serial S or --all");
    struct run *r = calloc(1, sizeof(*r));
    if (!r)
        return err_set(ei, TD_NOMEM, "no memory");
    enum td_err e = run_open(r, &c, o, ei);
    if (e == TD_OK && (o->bench || o->duration)) {
        e = bench_connect(&c, ret_code, ei);
    } else if (e == TD_OK) {
        e = connect_all(r, o->serial, &p, ei);
        if (e == TD_OK)
            connect_summary(r, &p);
        *ret_code = atomic_load(&p.failed) ? 1 : 0;
    }
    run_close(r);
    free(r);
    return e;
}

/* --- the demo: enrol, then connect every few seconds until interrupted --- */

static void round_line(struct run *r, const struct pool *p, uint64_t commands)
{
    uint64_t bad = atomic_load(&p->failed);
    if (commands || bad)
        printf("%zu devices connected: %llu commands done, %llu removed so far, %llu failed\n",
               r->n - (size_t)atomic_load(&r->gone), (unsigned long long)commands,
               (unsigned long long)atomic_load(&r->removed), (unsigned long long)bad);
    if (bad) {
        stats_causes_print(stdout, &r->causes);
        stats_causes_init(&r->causes);
    }
    fflush(stdout);
}

enum td_err fleet_run_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    struct enroll_ctx c = {0};
    uint64_t bad = 0, before = 0;
    struct run *r = calloc(1, sizeof(*r));
    if (!r)
        return err_set(ei, TD_NOMEM, "no memory");
    enum td_err e = run_open(r, &c, o, ei);
    if (e == TD_OK)
        e = enroll_fleet(r, true, &bad, ei);
    stats_causes_init(&r->causes);
    fflush(stdout);
    while (e == TD_OK && pool_sleep((uint64_t)o->interval * 1000000U)) {
        struct pool p;
        arena_free(&r->a);
        atomic_store(&r->gone, 0);
        e = connect_all(r, NULL, &p, ei);
        if (e == TD_OK) {
            round_line(r, &p, atomic_load(&r->commands) - before);
            before = atomic_load(&r->commands);
        }
    }
    run_close(r);
    free(r);
    *ret_code = bad ? 1 : 0;
    return e;
}
