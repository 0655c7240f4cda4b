/* What posture hears, and what it does: the ends of its ops and of the ops that feed it. */
#ifndef TD_WEB_SERVER_BIND_POSTURE_H
#define TD_WEB_SERVER_BIND_POSTURE_H

#include "acme/attest/attest.h"
#include "acme/server/acme.h"
#include "mdm/posture/posture.h"
#include "profiles/enroll/push.h"

struct bind_posture {
    struct posture *posture;
    const struct attest_roots *roots;
    unsigned formats_off;
    struct core *core; /* from here on set before the sweep starts */
    struct enroll *enroll;
};

/* posture_ops; ctx is the struct bind_posture. The audit rows name "posture". */
enum td_err bind_posture_hold(void *ctx, struct tx *tx, const struct posture_cause *c, bool hold,
                              struct errinfo *ei);
enum td_err bind_posture_revoke(void *ctx, struct tx *tx, const struct posture_cause *c,
                                struct errinfo *ei);
/* Pushes each access identity the device is assigned. One that it may not have any more, or cannot
 * be pushed as it is not enrolled, is passed over. */
enum td_err bind_posture_restore(void *ctx, const char *serial, struct errinfo *ei);

/* posture_ops.attest; ctx is the struct bind_posture. */
enum td_err bind_posture_attest(void *ctx, const char *serial, const struct span *chain, size_t n,
                                struct span nonce, struct arena *a, const char **ret_facts,
                                struct errinfo *ei);

/* core_ops.told; ctx is the struct bind_posture. */
enum td_err bind_posture_told(void *ctx, struct tx *tx, const struct core_news *n,
                              struct errinfo *ei);

/* acme_ops.device_told; ctx is the struct bind_posture. */
enum td_err bind_posture_attested(void *ctx, struct tx *tx, const struct acme_news *n,
                                  struct errinfo *ei);

/* EVENT_DEVICE_CHANGED: its groups or its platform may be others; no ctx. */
enum td_err bind_posture_changed(void *ctx, const void *payload, struct errinfo *ei);

#endif
