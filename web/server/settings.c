#include "web/server/settings.h"

#include "acme/attest/attest.h"
#include "acme/ca/crl_export.h"
#include "web/hook/secrets.h"
#include "web/hook/sender.h"

#define AT(member) offsetof(struct settings, member)
#define STR(s, k, m, d, text)                                                                      \
    {                                                                                              \
        s, k, CONF_STR, AT(m), d, 0, 0, NULL, text, false                                          \
    }
#define NUM(s, k, t, m, d, lo, hi, text)                                                           \
    {                                                                                              \
        s, k, t, AT(m), d, lo, hi, NULL, text, false                                               \
    }
#define ENUM(s, k, m, d, words, text)                                                              \
    {                                                                                              \
        s, k, CONF_ENUM, AT(m), d, 0, 0, words, text, false                                        \
    }
#define BOOL(s, k, m, d, text)                                                                     \
    {                                                                                              \
        s, k, CONF_BOOL, AT(m), d, 0, 0, NULL, text, false                                         \
    }

#define MINUTE 60
#define HOUR 3600
#define DAY 86400

#define KEEP(k, m, d, lo, text)                                                                    \
    NUM("retention", k, CONF_DURATION, m, d, lo, 36500 * (int64_t)DAY, text)

static const struct conf_key keys[] = {
    STR("server", "data_dir", data_dir, "/var/lib/testudo", "where everything of ours is kept"),
    STR("server", "organization", organization, "Testudo", "name shown in profiles"),
    STR("server", "public_url", public_url, "",
        "address of the public listener as devices and people reach it: "
        "https://mdm.example.com:8443"),
    STR("server", "device_url", device_url, "",
        "address of the device listener as devices reach it: https://mdm.example.com:8444"),
    STR("server", "status_url", status_url, "",
        "address of the status listener as relying parties reach it: http://mdm.example.com:8080"),
    NUM("server", "workers", CONF_INT, workers, "64", 1, 1024,
        "handler threads; each waits for its commit, so more share one fsync"),
    NUM("server", "queue", CONF_INT, queue, "4096", 1, 1000000,
        "requests waiting for a worker; beyond it the answer is 503 with Retry-After"),
    NUM("server", "threads", CONF_INT, threads, "0", 0, 64,
        "event threads of each listener; 0 = the number of cores, at most 4"),
    NUM("server", "connections", CONF_INT, connections, "10000", 1, 1000000,
        "open connections of each listener"),
    NUM("server", "idle_timeout", CONF_DURATION, idle_timeout, "60s", 1, 3600,
        "a connection without a byte for so long is closed"),
    NUM("server", "body_timeout", CONF_DURATION, body_timeout, "30s", 1, 3600,
        "from the first header to the last byte of the body; then 408"),
    ENUM("server", "log_level", log_level, "info", "debug info warn error", "least level logged"),
    ENUM("server", "log_format", log_format, "logfmt", "logfmt json", "form of a log line"),
    STR("public", "address", public_address, "[::]:8443", "API, enrolment, ACME (https)"),
    STR("device", "address", device_address, "[::]:8444",
        "MDM check-in and connect; asks for the client certificate (https)"),
    STR("status", "address", status_address, "[::]:8080", "OCSP and CA certificates (http)"),
    STR("proxy", "address", proxy_address, "",
        "unix:/path of a socket for a reverse proxy whose Client-Cert header is believed; empty = "
        "off"),
    STR("tls", "certificate", tls_cert, "", "PEM, leaf first; empty = DATA_DIR/tls/server.crt"),
    STR("tls", "key", tls_key, "", "PEM; empty = DATA_DIR/tls/server.key"),
    {"store", "url", CONF_URL, AT(store_url), "", 0, 0, NULL,
     "sqlite:/path or postgres://user@host1,host2/database (libpq); empty = "
     "sqlite:DATA_DIR/testudo.db",
     false},
    STR("store", "seal_key", store_seal_key, "",
        "file with the keys that seal secrets in the database, the same on every node; empty = "
        "DATA_DIR/seal.key"),
    NUM("store", "readers", CONF_INT, store_readers, "8", 1, 256, "reading connections"),
    NUM("store", "writers", CONF_INT, store_writers, "0", 0, 16,
        "writing connections to PostgreSQL; 0 = 4. SQLite has one"),
    NUM("store", "batch", CONF_INT, store_batch, "256", 1, 4096, "most jobs in one commit"),
    NUM("store", "answer_timeout", CONF_DURATION, store_answer_timeout, "10s", 2, 600,
        "PostgreSQL that leaves a question unanswered for so long is given up"),
    BOOL("store", "sync_full", store_sync_full, "yes",
         "an answer leaves only behind its fsync; no = a power cut may lose the last answers"),
    STR("ca", "dir", ca_dir, "", "keys and certificates of the CA; empty = DATA_DIR/ca"),
    STR("ca", "passphrase_file", ca_passphrase_file, "",
        "file with the passphrase of the CA keys (a systemd credential); empty = not encrypted"),
    STR("ca", "signer", ca_signer, "", "path of testudo-signer; empty = beside testudo"),
    STR("ca", "crl_export", ca_crl_export, "",
        "file for programs that read CRLs from one, written anew within a second of a change; "
        ".pem: "
        "the complete CRLs of all CAs of the chain, another ending: the active CA's as DER; empty "
        "= "
        "off"),
    STR("ca", "crl_hook", ca_crl_hook, "",
        "program (absolute path) and arguments to run behind each write of crl_export, without a "
        "shell"),
    NUM("ca", "crl_hook_timeout", CONF_DURATION, ca_crl_hook_timeout, "30s", 1, 3600,
        "a hook that takes longer is killed"),
    NUM("acme", "order_ttl", CONF_DURATION, acme_order_ttl, "1h", 60, 30 * DAY,
        "life of an order that is not finished"),
    NUM("acme", "nonce_ttl", CONF_DURATION, acme_nonce_ttl, "15m", 600, DAY,
        "life of a nonce; a device may wait minutes for Apple between two requests"),
    STR("acme", "extra_roots", acme_extra_roots, "",
        "PEM file with further attestation roots, for tests: whoever holds one can make any "
        "device"),
    STR("acme", "formats", acme_formats, "apple",
        "attestation formats that are taken, with spaces between"),
    STR("acme", "terms_of_service", acme_terms, "",
        "URL of terms that ACME clients must agree to; Apple's client always does"),
    STR("acme", "website", acme_website, "", "URL about this CA, for its directory"),
    NUM("acme", "idle_accounts", CONF_INT, acme_idle_accounts, "100000", 100, 10000000,
        "most accounts without an order; a new one puts out one of them, drawn by lot"),
    NUM("acme", "device_orders", CONF_INT, acme_device_orders, "20", 0, 1000000,
        "orders for one device in an hour; 0 = any number"),
    NUM("acme", "device_failures", CONF_INT, acme_device_failures, "10", 0, 1000000,
        "refused attestations of one device in an hour; 0 = any number"),
    NUM("acme", "account_orders", CONF_INT, acme_account_orders, "300", 0, 1000000,
        "orders of one account in an hour; 0 = any number"),
    STR("enroll", "identifier", enroll_identifier, "org.testudo.enrollment",
        "PayloadIdentifier of the enrolment profile; devices refuse a change of it"),
    STR("enroll", "topic", enroll_topic, "com.apple.mgmt.External.testudo",
        "push topic: the UID in the subject of the push certificate; devices refuse a change of "
        "it"),
    ENUM("enroll", "key_size", enroll_key_size, "256", "256 384", "bits of the device's key"),
    ENUM("enroll", "attested_udid", enroll_attested_udid, "compare", "compare ignore",
         "whether an enrolment's UDID must be the one that the device attested; of Macs the two "
         "differ"),
    NUM("enroll", "invitation_ttl", CONF_DURATION, enroll_invitation_ttl, "7d", 60, 90 * DAY,
        "life of an invitation"),
    NUM("enroll", "client_id_ttl", CONF_DURATION, enroll_client_id_ttl, "1h", 60, 7 * DAY,
        "from the fetch of the profile to the ACME order"),
    BOOL(
        "enroll", "sign_message", enroll_sign_message, "no",
        "devices sign each message (Mdm-Signature): needed where TLS ends at a proxy without mTLS"),
    NUM("posture", "refresh", CONF_DURATION, posture_refresh, "6h", 60, 30 * DAY,
        "devices that posture rules ask about are asked so often how they are"),
    NUM("posture", "confirm_after", CONF_DURATION, posture_confirm, "5m", 0, DAY,
        "between two answers of a device that confirm one another"),
    NUM("posture", "attest_every", CONF_DURATION, posture_attest, "7d", 60, 90 * DAY,
        "attested facts that are older are asked for anew; Apple makes one in seven days"),
    NUM("posture", "period", CONF_DURATION, posture_period, "5s", 1, HOUR,
        "between two looks for devices that are to be judged again"),
    NUM("renewal", "period", CONF_DURATION, renew_period, "1m", 1, DAY,
        "between two looks for certificates that are due to be renewed"),
    NUM("renewal", "retry", CONF_DURATION, renew_retry, "1h", 1, DAY,
        "to the second try; doubled for each further one, at most a day"),
    NUM("renewal", "grace", CONF_DURATION, renew_grace, "1d", 0, 90 * DAY,
        "a replaced access certificate is still good for so long"),
    NUM("webhook", "timeout", CONF_DURATION, webhook_timeout, "15s", 1, 60,
        "an endpoint that has not answered by then failed"),
    NUM("webhook", "connect_timeout", CONF_DURATION, webhook_connect, "5s", 1, 60,
        "the same for its connection"),
    NUM("webhook", "in_flight", CONF_INT, webhook_in_flight, "4", 1, HOOK_IN_FLIGHT_MAX,
        "endpoints that a node delivers to at the same time"),
    NUM("webhook", "give_up", CONF_DURATION, webhook_give_up, "1d", MINUTE, 30 * DAY,
        "an event older than this is dropped when a try fails"),
    NUM("webhook", "secret_overlap", CONF_DURATION, webhook_overlap, "1d", 0, HOOK_OVERLAP_MAX,
        "beside a new secret the old one signs for so long"),
    STR("webhook", "ca_file", webhook_ca_file, "",
        "PEM of the CAs that endpoints' certificates are of; empty = the system's"),
    KEEP("commands", keep_commands, "90d", DAY, "finished commands and their results"),
    KEEP("waiting", keep_waiting, "365d", DAY,
         "commands that no device came for; then they are cancelled"),
    KEEP("attempts", keep_attempts, "180d", DAY, "refused and accepted proofs of identity"),
    KEEP("audit", keep_audit, "1095d", 30 * DAY, "the audit trail"),
    KEEP("invitations", keep_invitations, "30d", HOUR,
         "invitations behind their end; until then they say that they ended"),
    KEEP(
        "orders", keep_orders, "1d", HOUR,
        "ACME orders behind their end, accounts behind their last order, keys for external account "
        "binding behind their end"),
    KEEP("issued_orders", keep_issued_orders, "90d", HOUR,
         "orders that issued, with their account, at most until the certificate's end: so long the "
         "account can revoke it"),
    KEEP("client_ids", keep_client_ids, "7d", HOUR,
         "ClientIdentifiers behind their expiry, and at least as long as an order lives"),
    KEEP("evidence", keep_evidence, "730d", 30 * DAY,
         "what devices proved; at least as long as a certificate rests on it"),
    KEEP("certificates", keep_certificates, "30d", DAY,
         "certificates behind their expiry that no enrolment holds; OCSP knows them until then"),
    KEEP("removed", keep_removed, "180d", DAY,
         "enrolments that are over, and at least as long as their commands"),
    KEEP("leaving", keep_leaving, "730d", 30 * DAY,
         "enrolments that left and whose device never came for its removal"),
    KEEP("tokens", keep_tokens, "90d", HOUR, "API tokens behind their expiry"),
    KEEP("events", keep_events, "7d", DAY,
         "events for webhooks, and with them what could not be delivered"),
};

const struct conf_table settings_table = {keys, TD_NITEMS(keys)};

static enum td_err check_url(const char *key, const char *url, const char *scheme,
                             struct errinfo *ei)
{
    struct span s = span_str(url);
    if (s.n == 0)
        return err_set(ei, TD_INVAL, "[server] %s is not set", key);
    if (!span_starts(s, span_str(scheme)) || s.n == strlen(scheme))
        return err_set(ei, TD_INVAL, "[server] %s must begin with %s", key, scheme);
    if (strchr(url + strlen(scheme), '/') || strpbrk(url, " ?#%@"))
        return err_set(ei, TD_INVAL, "[server] %s must be %shost[:port] alone", key, scheme);
    return TD_OK;
}

/* Sets a member that was left empty to prefix + data_dir + suffix. */
static enum td_err derive(const char **member, struct arena *a, const char *prefix, const char *dir,
                          const char *suffix)
{
    if (!(*member)[0])
        *member = arena_printf(a, "%s%s%s", prefix, dir, suffix);
    return *member ? TD_OK : TD_NOMEM;
}

enum td_err settings_load(const char *file, char *const *env, int nflags, char *const *flags,
                          struct arena *a, struct settings *ret, struct errinfo *ei)
{
    struct settings s = {0};
    int used = 0;
    TD_TRY(conf_load(&settings_table, file, env, nflags, flags, &used, a, &s, ei));
    if (used < nflags)
        return err_set(ei, TD_INVAL, "unexpected argument '%s'", flags[used]);
    TD_TRY(check_url("public_url", s.public_url, "https://", ei));
    TD_TRY(check_url("device_url", s.device_url, "https://", ei));
    TD_TRY(check_url("status_url", s.status_url, "http://", ei));
    TD_TRY(crl_export_check(s.ca_crl_export, s.ca_crl_hook, ei));
    TD_TRY(attest_formats_parse(s.acme_formats, &s.acme_formats_off, ei));
    TD_TRY(derive(&s.store_url, a, "sqlite:", s.data_dir, "/testudo.db"));
    TD_TRY(derive(&s.store_seal_key, a, "", s.data_dir, "/seal.key"));
    TD_TRY(derive(&s.ca_dir, a, "", s.data_dir, "/ca"));
    TD_TRY(derive(&s.tls_cert, a, "", s.data_dir, "/tls/server.crt"));
    TD_TRY(derive(&s.tls_key, a, "", s.data_dir, "/tls/server.key"));
    *ret = s;
    return TD_OK;
}
