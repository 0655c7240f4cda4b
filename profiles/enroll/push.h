/* Identities for devices that are enrolled: access identities by a profile of their own, and the
 * management identity anew by the enrolment profile (MB-27, MB-28). Each push is an InstallProfile
 * command with a fresh ClientIdentifier, stored and queued in one transaction. */
#ifndef TD_PROFILES_ENROLL_PUSH_H
#define TD_PROFILES_ENROLL_PUSH_H

#include "mdm/core/core.h"
#include "profiles/enroll/enroll.h"

/* An access identity as it is assigned; strings in the arena, "" for none. */
struct enroll_access {
    const char *profile; /* certificate profile */
    const char *wifi_ssid, *wifi_servers /* separated by blanks */, *created_by;
    int64_t created_at;
};

/* The PayloadIdentifier of such a profile, in the arena; NULL when out of memory. */
char *enroll_access_identifier(const struct enroll *e, const char *cert_profile, struct arena *a);

/* The unsigned profile (XML plist), appended. */
TD_NODISCARD enum td_err enroll_compose_access(struct enroll *e, const char *serial,
                                               const struct enroll_access *x, const char *client_id,
                                               struct arena *a, struct buf *b, struct errinfo *ei);

/* Gives a device an access identity, or the same anew: remembers it and pushes the profile.
 * TD_NOTFOUND: not listed, not enrolled, no such access profile. TD_FORBIDDEN: the profile is not
 * for this device, with the reason. */
TD_NODISCARD enum td_err enroll_assign(struct enroll *e, struct core *core, const char *serial,
                                       const struct enroll_access *x, const char *actor,
                                       char ret_uuid[static UUID_SIZE], struct errinfo *ei);

/* Takes it back: RemoveProfile is queued where the device is enrolled. The certificate is the
 * caller's to revoke, in `also`, inside the transaction. TD_NOTFOUND: it was not assigned. */
TD_NODISCARD enum td_err enroll_unassign(struct enroll *e, struct core *core, const char *serial,
                                         const char *profile, const char *actor,
                                         enum td_err (*also)(struct tx *tx, void *ctx,
                                                             const char *txn, struct errinfo *ei),
                                         void *ctx, struct errinfo *ei);

/* What a device is assigned, by profile; at most PROFILES. */
#define ENROLL_ACCESS_MAX 64
TD_NODISCARD enum td_err enroll_assigned(struct tx *tx, const char *serial, struct arena *a,
                                         struct enroll_access *ret, size_t *ret_n,
                                         struct errinfo *ei);

/* When the device leaves. */
TD_NODISCARD enum td_err enroll_unassign_all(struct tx *tx, const char *serial, struct errinfo *ei);

/* A renewal: the profile of the certificate is pushed again. */
struct enroll_renewal {
    const char *serial, *profile;
    bool access;
    struct span renews; /* serial number of the certificate */
    int64_t expires;    /* of the ClientIdentifier */
    /* First in the transaction: takes the job, or says TD_AGAIN. */
    enum td_err (*claim)(struct tx *tx, void *ctx, const char *uuid, struct errinfo *ei);
    void *ctx;
};
/* TD_NOTFOUND "not-assigned": the access identity is not wanted any more; others as enroll_assign.
 */
TD_NODISCARD enum td_err enroll_renew(struct enroll *e, struct core *core,
                                      const struct enroll_renewal *r, struct errinfo *ei);

#endif
