/* Enrolment over the air: a single-use invitation becomes a signed enrolment profile with the root,
 * an ACMECertificate payload bound to the device, and the MDM payload. */
#ifndef TD_PROFILES_ENROLL_ENROLL_H
#define TD_PROFILES_ENROLL_ENROLL_H

#include "mdm/base/rng.h"
#include "mdm/base/route.h"
#include "mdm/crypt/x509.h"
#include "mdm/store/sweep.h"

struct enroll_ops {
    void *ctx;
    /* TD_OK listed, TD_NOTFOUND not. */
    enum td_err (*device_listed)(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei);
    /* Stores a one-time ClientIdentifier (acme/ca/client_id). */
    enum td_err (*client_id_add)(void *ctx, struct tx *tx, const char *id, const char *serial,
                                 const char *profile, int64_t now, int64_t expires,
                                 struct errinfo *ei);
    /* Signs the profile with what the public listener serves (reloaded with it). */
    enum td_err (*sign)(void *ctx, struct span content, struct arena *a, struct span *ret,
                        struct errinfo *ei);
    /* The same for an identity that is pushed to an enrolled device; renews: serial number of the
     * certificate whose place it takes, or empty. */
    enum td_err (*client_id_renewal)(void *ctx, struct tx *tx, const char *id, const char *serial,
                                     const char *profile, struct span renews, int64_t now,
                                     int64_t expires, struct errinfo *ei);
    /* Whether the device may have a certificate of the profile at this moment; TD_FORBIDDEN with
     * the reason. TD_NOTFOUND: no such profile, or not one of the purpose. */
    enum td_err (*profile_allows)(void *ctx, struct tx *tx, const char *profile, bool access,
                                  const char *serial, struct errinfo *ei);
    /* Serial number of the device's newest good certificate of the profile, or empty. */
    enum td_err (*profile_newest)(void *ctx, struct tx *tx, const char *serial, const char *profile,
                                  struct arena *a, struct span *ret, struct errinfo *ei);
};

struct enroll_conf {
    struct store *store;
    const struct clock *clock;
    struct rng *rng;
    const struct cert *root; /* CA root, installed by the profile */
    const char *public_url;  /* "https://host:8443" */
    const char *device_url;  /* "https://host:8444" */
    const char *organization, *identifier /* PayloadIdentifier */, *topic;
    const char *cert_profile;              /* "management" */
    int key_size;                          /* 256 or 384 */
    bool sign_message;                     /* SignMessage in the MDM payload */
    int64_t invitation_ttl, client_id_ttl; /* seconds */
    struct enroll_ops ops;
};

struct enroll;
extern const struct store_stmts enroll_stmts;

/* TD_INVAL: a URL that is not https:// or ends in a slash, a key size or lifetime out of range, an
 * op that is not bound. Borrows what conf points to. */
TD_NODISCARD enum td_err enroll_open(const struct enroll_conf *conf, struct enroll **ret,
                                     struct errinfo *ei);
void enroll_close(struct enroll *e);

struct invitation {
    const char *id, *url; /* in the arena; the url is shown once */
    int64_t expires_at;
};

/* A new invitation for a listed device; ttl 0 = the configured one. TD_NOTFOUND: not listed. */
TD_NODISCARD enum td_err enroll_invite(struct enroll *e, const char *serial, int64_t ttl,
                                       const char *actor, struct arena *a, struct invitation *ret,
                                       struct errinfo *ei);

/* The URL as a QR code, SVG text appended. */
TD_NODISCARD enum td_err enroll_qr_svg(const char *url, struct buf *b, struct errinfo *ei);

/* Composes the unsigned profile (XML plist) for a device and ClientIdentifier, appended. */
TD_NODISCARD enum td_err enroll_compose(struct enroll *e, const char *serial, const char *client_id,
                                        struct arena *a, struct buf *b, struct errinfo *ei);

/* Ends the open invitations of a device that leaves. */
TD_NODISCARD enum td_err enroll_cancel(struct tx *tx, const char *serial, int64_t now,
                                       struct errinfo *ei);

/* A step of the cleaner, over the end of an invitation. Until it goes its link says that it ended
 * (410). */
TD_NODISCARD enum td_err enroll_clean(struct tx *tx, struct sweep *s, struct errinfo *ei);

/* GET /enroll/{token} on the public listener; ctx is the struct enroll. */
extern const struct route enroll_routes[];
extern const size_t enroll_nroutes;

#endif
