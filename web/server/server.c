#include "web/server/server.h"

#include <unistd.h>

#include "acme/ca/census.h"
#include "acme/ca/clean.h"
#include "acme/ca/client_id.h"
#include "acme/ca/crl.h"
#include "acme/ca/crl_export.h"
#include "acme/ca/live.h"
#include "acme/ca/renewal.h"
#include "apns/record.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/log.h"
#include "mdm/store/attempts.h"
#include "mdm/store/audit.h"
#include "web/api/api.h"
#include "web/auth/token.h"
#include "web/device/device.h"
#include "web/hook/post.h"
#include "web/hook/sender.h"
#include "web/hook/turn.h"
#include "web/server/bind_posture.h"
#include "web/server/bind_profiles.h"
#include "web/server/clean.h"
#include "web/server/renew.h"
#include "web/server/secrets.h"
#include "web/server/status.h"

#define PEM_MAX 65536
#define CERT_PROFILE "management"

struct server {
    struct settings conf;
    struct signer_client *signer;
    struct store *store;
    struct seal *seal;
    struct ca_profiles *profiles;
    struct ca *ca;
    struct trust *trust;
    struct attest_roots *roots;
    struct acme *acme;
    struct core *core;
    struct enroll *enroll;
    struct bind_posture posture;
    struct event_bus bus;
    struct inventory inventory;
    struct bind_identity identity;
    struct bind_enroll for_enroll;
    struct bind_peer peer;
    struct token_auth auth;
    struct api api;
    struct device_web device;
    struct status status;
    struct clean *clean;
    struct crl_export *crl_export;
    struct renew *renew;
    struct hook_sender *hooks;
    struct http *http;
};

static const struct store_stmts *const stmt_sets[] = {
    &audit_stmts,      &outbox_stmts,    &attempt_stmts,   &core_stmts,      &inventory_stmts,
    &enroll_stmts,     &ca_stmts,        &acme_stmts,      &token_stmts,     &api_stmts,
    &client_id_stmts,  &ca_clean_stmts,  &ca_revoke_stmts, &ca_crl_stmts,    &ca_policy_stmts,
    &ca_renewal_stmts, &ca_live_stmts,   &ca_census_stmts, &ca_active_stmts, &sealed_stmts,
    &hook_stmts,       &hook_turn_stmts, &posture_stmts,
};

size_t server_stmts(struct store_stmts *out, size_t n)
{
    for (size_t i = 0; i < TD_NITEMS(stmt_sets) && i < n; i++)
        out[i] = *stmt_sets[i];
    return TD_NITEMS(stmt_sets);
}

enum td_err server_open_store(const struct settings *s, enum store_use use, struct store **ret,
                              struct errinfo *ei)
{
    struct store_stmts sets[TD_NITEMS(stmt_sets)];
    server_stmts(sets, TD_NITEMS(sets));
    const struct store_conf conf = {
        .url = s->store_url,
        .use = use,
        .readers = (unsigned)s->store_readers,
        .writers = (unsigned)s->store_writers,
        .batch = (unsigned)s->store_batch,
        .queue = (unsigned)(s->workers + s->queue),
        .answer_ms = (unsigned)s->store_answer_timeout * 1000,
        .sync_full = s->store_sync_full,
        .sets = sets,
        .nsets = TD_NITEMS(sets),
        .clock = &clock_system,
    };
    return store_open(&conf, ret, ei);
}

enum td_err server_signer_path(const struct settings *s, char *out, size_t n, struct errinfo *ei)
{
    if (s->ca_signer[0]) {
        snprintf(out, n, "%s", s->ca_signer);
        return TD_OK;
    }
    ssize_t len = readlink("/proc/self/exe", out, n - 1);
    if (len <= 0)
        return err_set(ei, TD_IO, "cannot tell where testudo is; set [ca] signer");
    out[len] = 0;
    char *slash = strrchr(out, '/');
    int left = (int)(n - (size_t)(slash + 1 - out));
    if (snprintf(slash + 1, (size_t)left, "testudo-signer") >= left)
        return err_set(ei, TD_LIMIT, "the path of testudo is too long");
    return TD_OK;
}

static enum td_err load_roots(struct server *s, struct errinfo *ei)
{
    buf_auto pem;
    buf_init(&pem, PEM_MAX);
    size_t n = s->conf.acme_extra_roots[0] ? 1 : 0;
    if (n)
        TD_TRY(fs_read(s->conf.acme_extra_roots, PEM_MAX, &pem, ei));
    struct span text = buf_view(&pem);
    TD_TRY(attest_roots_new(&text, n, &s->roots, ei));
    const char *subject, *sha256;
    bool pinned;
    for (size_t i = 0; attest_roots_at(s->roots, i, &subject, &sha256, &pinned); i++)
        log_ev(pinned ? LOG_INFO : LOG_WARN, "attest.root", KV("subject", subject),
               KV("sha256", sha256), KV("origin", pinned ? "apple" : "configured"));
    return TD_OK;
}

static enum td_err open_ca(struct server *s, struct errinfo *ei)
{
    TD_TRY(
        ca_profiles_open(s->conf.ca_dir, s->store, &clock_system, &rng_system, &s->profiles, ei));
    const struct ca_conf conf = {s->store, s->signer, &clock_system, &rng_system, s->profiles};
    TD_TRY(ca_open(&conf, &s->ca, ei));
    TD_TRY(ca_note_active(s->ca, NULL, ei)); /* rotated while no server ran */
    cert_auto *root = NULL;
    TD_TRY(cert_parse(cert_der(ca_root(s->ca)), &root, ei));
    TD_TRY(trust_new(&root, 1, &s->trust, ei));
    const struct trust_opts any = {.no_time = true, .purpose = "any"};
    for (size_t i = 0; i < ca_issuing_n(s->ca); i++)
        TD_TRY(trust_verify(s->trust, ca_issuing_at(s->ca, i), NULL, 0, &any, ei));
    s->peer = (struct bind_peer){s->ca};
    return TD_OK;
}

static enum td_err open_posture(struct server *s, struct errinfo *ei)
{
    const struct posture_conf conf = {.store = s->store,
                                      .clock = &clock_system,
                                      .rng = &rng_system,
                                      .ops = {.ctx = &s->posture,
                                              .hold = bind_posture_hold,
                                              .revoke = bind_posture_revoke,
                                              .attest = bind_posture_attest,
                                              .restore = bind_posture_restore},
                                      .refresh = s->conf.posture_refresh,
                                      .confirm_after = s->conf.posture_confirm,
                                      .attest_every = s->conf.posture_attest,
                                      .period_ms = (unsigned)s->conf.posture_period * 1000};
    s->posture.roots = s->roots;
    s->posture.formats_off = s->conf.acme_formats_off;
    return posture_open(&conf, &s->posture.posture, ei);
}

static enum td_err open_acme(struct server *s, struct errinfo *ei)
{
    const struct acme_conf conf = {
        .store = s->store,
        .ca = s->ca,
        .roots = s->roots,
        .clock = &clock_system,
        .rng = &rng_system,
        .seal = s->seal,
        .base_url = s->conf.public_url,
        .order_ttl = s->conf.acme_order_ttl,
        .nonce_ttl = s->conf.acme_nonce_ttl,
        .keep_issued = s->conf.keep_issued_orders,
        .replaced_grace = s->conf.renew_grace,
        .idle_accounts = s->conf.acme_idle_accounts,
        .terms = s->conf.acme_terms,
        .website = s->conf.acme_website,
        .formats_off = s->conf.acme_formats_off,
        .limits = {s->conf.acme_device_orders, s->conf.acme_device_failures,
                   s->conf.acme_account_orders},
        .ops = {.ctx = s->profiles,
                .device_listed = bind_device_listed,
                .profile_policy = bind_profile_policy,
                .profile_allows = bind_profile_allows,
                .device_facts = bind_device_facts,
                .device_told = bind_posture_attested,
                .told_ctx = &s->posture},
    };
    return acme_open(&conf, &s->acme, ei);
}

static enum td_err open_core(struct server *s, struct errinfo *ei)
{
    const struct core_conf conf = {
        .store = s->store,
        .clock = &clock_system,
        .rng = &rng_system,
        .ops = {.ctx = &s->posture,
                .told = bind_posture_told,
                .cert_lookup = bind_cert_lookup,
                .device_listed = bind_device_listed,
                .udid_allowed =
                    strcmp(s->conf.enroll_attested_udid, "ignore") == 0 ? NULL : bind_udid_allowed,
                .cert_supersede = bind_cert_supersede,
                .cert_renewed = bind_cert_renewed},
        .push = record_push_ops(),
        .topic = s->conf.enroll_topic,
        .enrollment_profile = s->conf.enroll_identifier,
    };
    return core_open(&conf, &s->core, ei);
}

static enum td_err open_enroll(struct server *s, struct errinfo *ei)
{
    s->for_enroll = (struct bind_enroll){&s->identity, s->profiles};
    const struct enroll_conf conf = {
        .store = s->store,
        .clock = &clock_system,
        .rng = &rng_system,
        .root = ca_root(s->ca),
        .public_url = s->conf.public_url,
        .device_url = s->conf.device_url,
        .organization = s->conf.organization,
        .identifier = s->conf.enroll_identifier,
        .topic = s->conf.enroll_topic,
        .cert_profile = CERT_PROFILE,
        .key_size = strcmp(s->conf.enroll_key_size, "384") == 0 ? 384 : 256,
        .sign_message = s->conf.enroll_sign_message,
        .invitation_ttl = s->conf.enroll_invitation_ttl,
        .client_id_ttl = s->conf.enroll_client_id_ttl,
        .ops = {.ctx = &s->for_enroll,
                .device_listed = bind_device_listed,
                .client_id_add = bind_client_id_add,
                .client_id_renewal = bind_client_id_renewal,
                .profile_allows = bind_enroll_allows,
                .profile_newest = bind_profile_newest,
                .sign = bind_enroll_sign},
    };
    return enroll_open(&conf, &s->enroll, ei);
}

static enum td_err authorize(void *ctx, const struct route *r, struct req *req, struct errinfo *ei)
{
    struct server *s = ctx;
    return token_authorize(&s->auth, r, req, ei);
}

static enum td_err verify_peer(void *ctx, const struct span *chain, size_t n, struct errinfo *ei)
{
    struct server *s = ctx;
    return bind_verify_peer(&s->peer, chain, n, ei);
}

static enum td_err open_http(struct server *s, struct errinfo *ei)
{
    const struct settings *c = &s->conf;
    const struct http_listener all[] = {
        {.name = "public",
         .kind = REQ_ON_PUBLIC,
         .address = c->public_address,
         .tls = true,
         .cert_file = c->tls_cert,
         .key_file = c->tls_key},
        {.name = "device",
         .kind = REQ_ON_DEVICE,
         .address = c->device_address,
         .tls = true,
         .cert_file = c->tls_cert,
         .key_file = c->tls_key,
         .ask_client_cert = true},
        {.name = "status", .kind = REQ_ON_STATUS, .address = c->status_address},
        {.name = "proxy",
         .kind = REQ_ON_PUBLIC | REQ_ON_DEVICE,
         .address = c->proxy_address,
         .proxy = true},
    };
    struct http_listener listeners[TD_NITEMS(all)];
    size_t n = 0;
    for (size_t i = 0; i < TD_NITEMS(all); i++)
        if (all[i].address[0])
            listeners[n++] = all[i];
    const struct route_set sets[] = {
        {acme_routes, acme_nroutes, s->acme},
        {enroll_routes, enroll_nroutes, s->enroll},
        {device_routes, device_nroutes, &s->device},
        {api_routes, api_nroutes, &s->api},
        {ca_routes, ca_nroutes, s->ca},
        {ca_crl_routes, ca_crl_nroutes, s->ca},
        {status_routes, status_nroutes, &s->status},
    };
    const struct http_conf conf = {
        .listeners = listeners,
        .nlisteners = n,
        .sets = sets,
        .nsets = TD_NITEMS(sets),
        .hooks = {.ctx = s, .authorize = authorize, .verify_peer = verify_peer},
        .threads = (unsigned)c->threads,
        .workers = (unsigned)c->workers,
        .queue = (unsigned)c->queue,
        .connections = (unsigned)c->connections,
        .idle_timeout = (unsigned)c->idle_timeout,
        .body_timeout = (unsigned)c->body_timeout,
        .clock = &clock_system,
        .rng = &rng_system,
    };
    return http_start(&conf, &s->http, ei);
}

/* The plain structs that rooms on top take as their context. */
static void fill_views(struct server *s)
{
    s->inventory = (struct inventory){s->store, &s->bus, &clock_system, &rng_system};
    s->auth = (struct token_auth){s->store, &clock_system};
    s->device = (struct device_web){s->core};
    s->status = (struct status){s->store, s->signer, s->ca};
    s->api = (struct api){
        .store = s->store,
        .clock = &clock_system,
        .rng = &rng_system,
        .seal = s->seal,
        .inventory = &s->inventory,
        .core = s->core,
        .ca = s->ca,
        .profiles = s->profiles,
        .posture = s->posture.posture,
        .public_url = s->conf.public_url,
        .enroll = s->enroll,
        .roots = s->roots,
        .secret_overlap = s->conf.webhook_overlap,
    };
}

static enum td_err open_export(struct server *s, struct errinfo *ei)
{
    const struct crl_export_conf conf = {.ca = s->ca,
                                         .path = s->conf.ca_crl_export,
                                         .hook = s->conf.ca_crl_hook,
                                         .hook_timeout = s->conf.ca_crl_hook_timeout};
    return *conf.path ? crl_export_start(&conf, &s->crl_export, ei) : TD_OK;
}

static enum td_err open_hooks(struct server *s, struct errinfo *ei)
{
    const struct hook_sender_conf conf = {.store = s->store,
                                          .seal = s->seal,
                                          .clock = &clock_system,
                                          .rng = &rng_system,
                                          .timeout = s->conf.webhook_timeout,
                                          .connect = s->conf.webhook_connect,
                                          .in_flight = s->conf.webhook_in_flight,
                                          .give_up = s->conf.webhook_give_up,
                                          .ca_file = s->conf.webhook_ca_file};
    return hook_sender_start(&conf, &s->hooks, ei);
}

static enum td_err open_all(struct server *s, struct errinfo *ei)
{
    char signer[4096];
    TD_TRY(server_signer_path(&s->conf, signer, sizeof signer, ei));
    const char *pass = s->conf.ca_passphrase_file[0] ? s->conf.ca_passphrase_file : NULL;
    TD_TRY(signer_client_start(signer, s->conf.ca_dir, pass, &s->signer, ei));
    TD_TRY(signer_client_ready(s->signer, ei));
    TD_TRY(bind_identity_load(&s->identity, &s->conf, ei));
    TD_TRY(load_roots(s, ei));
    TD_TRY(server_open_store(&s->conf, STORE_SERVE, &s->store, ei));
    TD_TRY(sealed_open(s->store, s->conf.store_seal_key, &clock_system, &s->seal, ei));
    TD_TRY(secrets_renew(s->store, s->seal, ei));
    TD_TRY(open_ca(s, ei));
    TD_TRY(open_posture(s, ei));
    TD_TRY(open_acme(s, ei));
    TD_TRY(open_core(s, ei));
    TD_TRY(open_enroll(s, ei));
    s->posture.core = s->core;
    s->posture.enroll = s->enroll;
    TD_TRY(event_subscribe(&s->bus, EVENT_DEVICE_LEAVING, bind_leaving, NULL));
    TD_TRY(event_subscribe(&s->bus, EVENT_DEVICE_CHANGED, bind_posture_changed, NULL));
    fill_views(s);
    const struct clean_conf clean = {s->store, &s->conf, &clock_system, 0};
    TD_TRY(clean_start(&clean, &s->clean, ei));
    TD_TRY(open_export(s, ei));
    const struct renew_conf renewals = {
        .store = s->store,
        .ca = s->ca,
        .profiles = s->profiles,
        .core = s->core,
        .enroll = s->enroll,
        .clock = &clock_system,
        .period = s->conf.renew_period,
        .retry = s->conf.renew_retry,
        .grace = s->conf.renew_grace,
    };
    TD_TRY(renew_start(&renewals, &s->renew, ei));
    TD_TRY(posture_start(s->posture.posture, s->core, ei));
    TD_TRY(open_hooks(s, ei));
    return open_http(s, ei);
}

enum td_err server_start(const struct settings *conf, struct server **ret, struct errinfo *ei)
{
    TD_TRY(crypt_init(ei));
    TD_TRY(hook_post_init(ei));
    plist_init();
    struct server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(ei, TD_NOMEM, "cannot start");
    s->conf = *conf;
    event_bus_init(&s->bus);
    bind_identity_init(&s->identity, &clock_system);
    enum td_err e = open_all(s, ei);
    if (e != TD_OK) {
        server_stop(s);
        return e;
    }
    *ret = s;
    return TD_OK;
}

static enum td_err reload_ca(struct server *s, struct errinfo *ei)
{
    TD_TRY(signer_client_reload(s->signer, ei));
    TD_TRY(ca_profiles_reload(s->profiles, ei));
    TD_TRY(ca_refresh(s->ca, ei));
    return ca_note_active(s->ca, NULL, ei);
}

static enum td_err reload_tls(struct server *s, struct errinfo *ei)
{
    TD_TRY(bind_identity_load(&s->identity, &s->conf, ei));
    return http_reload(s->http, ei);
}

/* Each part is taken though another is not right; the last error is told. */
enum td_err server_reload(struct server *s, struct errinfo *ei)
{
    enum td_err ca = reload_ca(s, ei);
    if (ca != TD_OK)
        log_ev(LOG_ERROR, "server.reload_failed", KV("part", "ca"), KV("error", err_msg(ei, ca)));
    enum td_err tls = reload_tls(s, ei);
    return tls != TD_OK ? tls : ca;
}

void server_stop(struct server *s)
{
    if (!s)
        return;
    http_stop(s->http);
    crl_export_stop(s->crl_export);
    clean_stop(s->clean);
    renew_stop(s->renew);
    posture_stop(s->posture.posture);
    hook_sender_stop(s->hooks);
    enroll_close(s->enroll);
    acme_close(s->acme);
    core_close(s->core);
    posture_close(s->posture.posture);
    ca_close(s->ca);
    ca_profiles_close(s->profiles);
    store_close(s->store);
    seal_free(s->seal);
    signer_client_stop(s->signer);
    trust_free(s->trust);
    attest_roots_free(s->roots);
    bind_identity_free(&s->identity);
    free(s);
}
