/* /api/v1/posture, and a device's: rules, verdicts, what other systems know. */
#include "mdm/base/words.h"
#include "web/api/api_int.h"
#include "web/api/api_util.h"

#define EXEMPT_MAX (INT64_C(365) * 86400)

/* --- facts there are ------------------------------------------------------------------------- */

static void write_words(struct json_w *w, const char *key, struct span list)
{
    char word[POSTURE_NAME_MAX + 1];
    json_array_key(w, key);
    for (struct span s; (s = words_next(&list)).n > 0;) {
        snprintf(word, sizeof word, "%.*s", (int)s.n, (const char *)s.p);
        json_v_str(w, word);
    }
    json_array_end(w);
}

static void write_sources(struct json_w *w, const struct posture_fact *f)
{
    json_array_key(w, "sources");
    if (f->attested)
        json_v_str(w, posture_source_name(POSTURE_ATTESTED));
    if (f->query || f->security || f->checkin)
        json_v_str(w, posture_source_name(POSTURE_REPORTED));
    else
        json_v_str(w, posture_source_name(POSTURE_OBSERVED));
    json_array_end(w);
}

API_HANDLER(posture_facts)
{
    const struct posture_fact *f;
    struct json_w w;
    (void)req;
    (void)ei;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, "facts");
    for (size_t i = 0; (f = posture_fact_at(i)); i++) {
        json_open(&w);
        json_kv_str(&w, "name", f->name);
        json_kv_str(&w, "kind", posture_kind_name(f->kind));
        write_words(&w, "words", span_str(f->words));
        write_words(&w, "platforms", span_str(f->platforms));
        write_sources(&w, f);
        json_kv_str(&w, "description", f->doc);
        json_close(&w);
    }
    json_array_end(&w);
    json_close(&w);
    return api_done(resp, 200);
}

/* --- rules ----------------------------------------------------------------------------------- */

struct rule_job {
    const char *name;
    struct arena *a;
    struct posture_change change;
    struct posture_rule rule, *list;
    size_t n;
    bool created;
};

static enum td_err list_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct rule_job *j = ctx;
    return posture_rules_get(tx, j->a, &j->list, &j->n, ei);
}

static enum td_err get_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct rule_job *j = ctx;
    return posture_rule_get(tx, j->name, &j->rule, ei);
}

static enum td_err put_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct rule_job *j = ctx;
    return posture_rule_put(tx, &j->rule, &j->change, &j->created, ei);
}

static enum td_err delete_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct rule_job *j = ctx;
    return posture_rule_delete(tx, j->name, &j->change, ei);
}

static enum td_err begin(const struct req *req, struct rule_job *j, struct errinfo *ei)
{
    const struct api *api = req->ctx;
    char *txn = arena_alloc(req->arena, RNG_ID_SIZE);
    if (!txn)
        return err_set(ei, TD_NOMEM, "no memory for a rule");
    rng_id(api->rng, txn);
    *j = (struct rule_job){.a = req->arena, .name = arena_dup(req->arena, req->params[0])};
    j->change =
        (struct posture_change){.now = clock_now(api->clock), .actor = api_actor(req), .txn = txn};
    return j->name ? api_preconditions(req, &j->change.if_match, ei) : TD_NOMEM;
}

static enum td_err answer(const struct rule_job *j, struct resp *resp, int status)
{
    struct json_w w;
    TD_TRY(api_etag(resp, j->rule.rev));
    json_w_init(&w, &resp->body);
    posture_rule_write(&w, &j->rule);
    return api_done(resp, status);
}

API_HANDLER(posture_rules)
{
    const struct api *api = req->ctx;
    struct rule_job j = {.a = req->arena};
    struct json_w w;
    TD_TRY(store_read(api->store, list_tx, &j, ei));
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_array_key(&w, "rules");
    for (size_t i = 0; i < j.n; i++)
        posture_rule_write(&w, &j.list[i]);
    json_array_end(&w);
    json_close(&w);
    return api_done(resp, 200);
}

API_HANDLER(posture_rule_get)
{
    const struct api *api = req->ctx;
    struct rule_job j;
    TD_TRY(begin(req, &j, ei));
    TD_TRY(store_read(api->store, get_tx, &j, ei));
    return answer(&j, resp, 200);
}

API_HANDLER(posture_rule_put)
{
    const struct api *api = req->ctx;
    struct rule_job j;
    struct json *body;
    TD_TRY(begin(req, &j, ei));
    TD_TRY(api_body(req, NULL, &body, ei));
    TD_TRY(posture_rule_parse(req->params[0], body, &j.rule, ei));
    TD_TRY(store_write(api->store, put_tx, &j, ei));
    posture_kick(api->posture);
    return answer(&j, resp, j.created ? 201 : 200);
}

API_HANDLER(posture_rule_delete)
{
    const struct api *api = req->ctx;
    struct rule_job j;
    TD_TRY(begin(req, &j, ei));
    TD_TRY(store_write(api->store, delete_tx, &j, ei));
    posture_kick(api->posture);
    resp->status = 204;
    return TD_OK;
}

/* --- lists of devices ------------------------------------------------------------------------ */

struct page_job {
    struct api_page page;
    const char *rule;
    int state;
    struct arena *a;
    struct posture_device *list;
    const char **serials;
    size_t n;
};

static enum td_err devices_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct page_job *j = ctx;
    return posture_list(tx, j->state, j->page.after, j->page.limit, j->a, &j->list, &j->n, ei);
}

static enum td_err failing_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct page_job *j = ctx;
    struct posture_rule r;
    TD_TRY(posture_rule_get(tx, j->rule, &r, ei));
    return posture_failing(tx, &r, j->page.after, j->page.limit, j->a, &j->serials, &j->n, ei);
}

static void write_state(struct json_w *w, const struct posture_device *d)
{
    json_kv_str(w, "state", posture_state_name(d->state));
    json_kv_time(w, "since", d->since);
    json_kv_time(w, "hold_at", d->hold_at);
    json_kv_time(w, "revoke_at", d->revoke_at);
    json_kv_time(w, "exempt_until", d->exempt_until);
    json_kv_time(w, "asked_at", d->asked_at);
    json_kv_time(w, "judged_at", d->judged_at);
}

static enum td_err state_of(const struct req *req, int *ret, struct errinfo *ei)
{
    bool found;
    enum posture_state s;
    struct span text = req_query(req, "state", &found);
    *ret = -1;
    if (!found)
        return TD_OK;
    if (!posture_state_parse(text, &s))
        return err_set(ei, TD_INVAL, "state is passing, failing, held or revoked");
    *ret = (int)s;
    return TD_OK;
}

static enum td_err end_page(const struct req *req, struct resp *resp, struct json_w *w,
                            const struct page_job *j, const char *last)
{
    json_array_end(w);
    TD_TRY(api_page_next(w, req->arena, j->n == j->page.limit, last));
    json_close(w);
    return api_done(resp, 200);
}

API_HANDLER(posture_devices)
{
    const struct api *api = req->ctx;
    struct page_job j = {.a = req->arena};
    struct json_w w;
    TD_TRY(api_page_get(req, &j.page, ei));
    TD_TRY(state_of(req, &j.state, ei));
    TD_TRY(store_read(api->store, devices_tx, &j, ei));
    json_w_init(&w, &resp->body);
    api_restart(&w, "devices");
    for (size_t i = 0; i < j.n; i++) {
        json_open(&w);
        json_kv_str(&w, "serial", j.list[i].serial);
        write_state(&w, &j.list[i]);
        json_close(&w);
    }
    return end_page(req, resp, &w, &j, j.n ? j.list[j.n - 1].serial : "");
}

API_HANDLER(posture_rule_devices)
{
    const struct api *api = req->ctx;
    struct page_job j = {.a = req->arena, .rule = arena_dup(req->arena, req->params[0])};
    struct json_w w;
    if (!j.rule)
        return TD_NOMEM;
    TD_TRY(api_page_get(req, &j.page, ei));
    TD_TRY(store_read(api->store, failing_tx, &j, ei));
    json_w_init(&w, &resp->body);
    api_restart(&w, "devices");
    for (size_t i = 0; i < j.n; i++)
        json_v_str(&w, j.serials[i]);
    return end_page(req, resp, &w, &j, j.n ? j.serials[j.n - 1] : "");
}

/* --- one device ------------------------------------------------------------------------------ */

struct device_job {
    struct api *api;
    struct arena *a;
    struct posture_cause cause;
    int64_t until;
    const char *actor, *fact, *value;
    struct posture_view view;
};

static enum td_err view_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct device_job *j = ctx;
    return posture_view_get(j->api->posture, tx, j->cause.serial, j->a, &j->view, ei);
}

static enum td_err exempt_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct device_job *j = ctx;
    TD_TRY(posture_exempt(j->api->posture, tx, &j->cause, j->until, j->actor, ei));
    return view_tx(tx, ctx, ei);
}

static enum td_err refresh_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct device_job *j = ctx;
    TD_TRY(posture_refresh(j->api->posture, tx, &j->cause, ei));
    return view_tx(tx, ctx, ei);
}

static enum td_err fact_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct device_job *j = ctx;
    const struct posture_external x = {j->cause, j->fact, j->value, j->actor};
    return posture_external_set(j->api->posture, tx, &x, ei);
}

static enum td_err begin_device(const struct req *req, struct device_job *j, struct errinfo *ei)
{
    struct api *api = req->ctx;
    char *txn = arena_alloc(req->arena, RNG_ID_SIZE);
    if (!txn)
        return TD_NOMEM;
    rng_id(api->rng, txn);
    *j = (struct device_job){.api = api,
                             .a = req->arena,
                             .cause = {.now = clock_now(api->clock), .txn = txn},
                             .actor = api_actor(req)};
    return api_serial(req, &j->cause.serial, ei);
}

static void write_obs(struct json_w *w, const struct posture_obs *o)
{
    json_kv_str(w, "value", o->value);
    json_kv_str(w, "source", posture_source_name(o->source));
    json_kv_time(w, "at", o->at);
}

static void write_line(struct json_w *w, const struct posture_line *l)
{
    json_open(w);
    json_kv_str(w, "rule", l->rule->name);
    json_kv_str(w, "verdict", posture_verdict_name(l->track.verdict));
    json_kv_time(w, "since", l->track.since);
    json_kv_int(w, "readings", l->track.readings);
    json_kv_bool(w, "enforce", l->rule->enforce);
    json_kv_str(w, "message", l->rule->message);
    json_kv_str(w, "fact", l->rule->fact);
    if (l->obs)
        write_obs(w, l->obs);
    json_close(w);
}

static enum td_err answer_device(const struct device_job *j, struct resp *resp)
{
    const struct posture_view *v = &j->view;
    struct json_w w;
    json_w_init(&w, &resp->body);
    json_open(&w);
    json_kv_str(&w, "serial", j->cause.serial);
    write_state(&w, &v->device);
    json_array_key(&w, "rules");
    for (size_t i = 0; i < v->nlines; i++)
        write_line(&w, &v->lines[i]);
    json_array_end(&w);
    json_array_key(&w, "facts");
    for (size_t i = 0; i < v->nfacts; i++) {
        json_open(&w);
        json_kv_str(&w, "name", v->facts[i].name);
        write_obs(&w, &v->facts[i]);
        json_kv_time(&w, "since", v->facts[i].since);
        json_close(&w);
    }
    json_array_end(&w);
    json_close(&w);
    return api_done(resp, 200);
}

API_HANDLER(posture_device)
{
    struct device_job j;
    TD_TRY(begin_device(req, &j, ei));
    TD_TRY(store_read(j.api->store, view_tx, &j, ei));
    return answer_device(&j, resp);
}

API_HANDLER(posture_refresh)
{
    struct device_job j;
    TD_TRY(api_no_members(req, ei));
    TD_TRY(begin_device(req, &j, ei));
    TD_TRY(store_write(j.api->store, refresh_tx, &j, ei));
    core_wake(j.api->core);
    return answer_device(&j, resp);
}

static enum td_err exempt(const struct req *req, struct resp *resp, int64_t seconds,
                          struct errinfo *ei)
{
    struct device_job j;
    TD_TRY(begin_device(req, &j, ei));
    j.until = seconds ? j.cause.now + seconds : 0;
    TD_TRY(store_write(j.api->store, exempt_tx, &j, ei));
    return answer_device(&j, resp);
}

API_HANDLER(posture_exempt)
{
    static const char *const members[] = {"seconds", NULL};
    struct json *body;
    int64_t seconds;
    TD_TRY(api_body(req, members, &body, ei));
    if (json_get_int(body, "seconds", &seconds) != TD_OK || seconds < 1 || seconds > EXEMPT_MAX)
        return err_set(ei, TD_INVAL, "seconds: an integer, 1 to %lld", (long long)EXEMPT_MAX);
    return exempt(req, resp, seconds, ei);
}

API_HANDLER(posture_unexempt)
{
    return exempt(req, resp, 0, ei);
}

static enum td_err set_fact(const struct req *req, struct resp *resp, const char *value,
                            struct errinfo *ei)
{
    struct device_job j;
    TD_TRY(begin_device(req, &j, ei));
    j.value = value;
    j.fact = arena_dup(req->arena, req->params[1]);
    if (!j.fact)
        return TD_NOMEM;
    TD_TRY(store_write(j.api->store, fact_tx, &j, ei));
    resp->status = 204;
    return TD_OK;
}

API_HANDLER(fact_put)
{
    static const char *const members[] = {"value", NULL};
    struct json *body;
    bool value;
    TD_TRY(api_body(req, members, &body, ei));
    if (json_get_bool(body, "value", &value) != TD_OK)
        return err_set(ei, TD_INVAL, "value: a boolean");
    return set_fact(req, resp, value ? "true" : "false", ei);
}

API_HANDLER(fact_delete)
{
    return set_fact(req, resp, NULL, ei);
}
