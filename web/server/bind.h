/* Ties the rooms together where a need points upward: who may have a certificate, whose
 * certificate it is, what ends when a device leaves, what signs a profile. */
#ifndef TD_WEB_SERVER_BIND_H
#define TD_WEB_SERVER_BIND_H

#include <pthread.h>

#include "acme/ca/ca.h"
#include "acme/server/acme.h"
#include "mdm/base/limits.h"
#include "mdm/core/core.h"
#include "mdm/inventory/devices.h"
#include "profiles/enroll/enroll.h"
#include "web/http/http.h"
#include "web/server/settings.h"

/* The TLS identity of the public listener, which also signs enrolment profiles. */
struct bind_identity {
    pthread_rwlock_t lock;
    struct cert *cert;
    struct cert *chain[LIMIT_CERT_CHAIN];
    size_t nchain;
    struct key *key;
    const struct clock *clock;
};

void bind_identity_init(struct bind_identity *id, const struct clock *clock);
void bind_identity_free(struct bind_identity *id);
/* Reads the PEM files and swaps them in; on error the old ones stay. */
TD_NODISCARD enum td_err bind_identity_load(struct bind_identity *id, const struct settings *s,
                                            struct errinfo *ei);

/* enroll_ops.sign; ctx is the struct bind_identity. */
enum td_err bind_sign(void *ctx, struct span content, struct arena *a, struct span *ret,
                      struct errinfo *ei);

/* enroll_ops.client_id_add; no ctx. */
enum td_err bind_client_id_add(void *ctx, struct tx *tx, const char *id, const char *serial,
                               const char *profile, int64_t now, int64_t expires,
                               struct errinfo *ei);

/* device_listed of acme, core and enroll; no ctx. */
enum td_err bind_device_listed(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei);

/* core_ops.cert_lookup; no ctx. */
enum td_err bind_cert_lookup(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                             struct core_cert *ret, struct errinfo *ei);

/* The UDID that an enrolment claims beside the one that its device attested:
 * "attested-udid-mismatch". */
enum td_err bind_udid_allowed(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                              const char *udid, struct errinfo *ei);

/* core_ops.cert_supersede; no ctx. */
enum td_err bind_cert_supersede(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                                int64_t now, const char *txn, struct errinfo *ei);

/* EVENT_DEVICE_LEAVING: certificates, identifiers, invitations and enrolment end together; no ctx.
 * payload is a struct inv_event. */
enum td_err bind_leaving(void *ctx, const void *payload, struct errinfo *ei);

/* http_hooks.verify_peer: a client certificate of one of our issuing CAs, which were verified
 * against our root; validity dates are not enforced here (MB-30), the certificate's own record is
 * asked at each request. */
struct bind_peer {
    struct ca *ca;
};
enum td_err bind_verify_peer(struct bind_peer *p, const struct span *chain, size_t n,
                             struct errinfo *ei);

#endif
