/* The configuration of testudo: one struct, one table (settings.c), three sources (conf.h). */
#ifndef TD_WEB_SERVER_SETTINGS_H
#define TD_WEB_SERVER_SETTINGS_H

#include "mdm/base/conf.h"

struct settings {
    const char *data_dir, *organization, *log_level, *log_format;
    const char *public_url, *device_url, *status_url;
    int64_t workers, queue, threads, connections, idle_timeout, body_timeout;
    const char *public_address, *device_address, *status_address, *proxy_address;
    const char *tls_cert, *tls_key;
    const char *store_url, *store_seal_key;
    int64_t store_readers, store_writers, store_batch, store_answer_timeout;
    bool store_sync_full;
    const char *ca_dir, *ca_passphrase_file, *ca_signer, *ca_crl_export, *ca_crl_hook;
    int64_t ca_crl_hook_timeout;
    int64_t acme_order_ttl, acme_nonce_ttl;
    const char *acme_extra_roots, *acme_formats, *acme_terms, *acme_website;
    unsigned acme_formats_off; /* what follows from acme_formats */
    int64_t acme_idle_accounts, acme_device_orders, acme_device_failures, acme_account_orders;
    const char *enroll_identifier, *enroll_topic, *enroll_key_size, *enroll_attested_udid;
    int64_t enroll_invitation_ttl, enroll_client_id_ttl;
    bool enroll_sign_message;
    int64_t webhook_timeout, webhook_connect, webhook_in_flight, webhook_give_up, webhook_overlap;
    const char *webhook_ca_file;
    int64_t posture_refresh, posture_confirm, posture_attest, posture_period;
    int64_t renew_period, renew_retry, renew_grace;
    /* retention, seconds: web/server/cleaners.c says of what */
    int64_t keep_commands, keep_waiting, keep_attempts, keep_audit, keep_invitations, keep_orders,
        keep_issued_orders, keep_client_ids, keep_evidence, keep_certificates, keep_removed,
        keep_leaving, keep_tokens, keep_events;
};

extern const struct conf_table settings_table;

/* Loads in the order of conf.h, then checks what one key alone cannot tell (URLs, required values)
 * and fills in the paths that follow from data_dir. Strings live in `a`. */
enum td_err settings_load(const char *file, char *const *env, int nflags, char *const *flags,
                          struct arena *a, struct settings *ret, struct errinfo *ei);

#endif
