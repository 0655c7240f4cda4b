/* The heart of the MDM protocol, without HTTP: check-in, the command loop, the queue. */
#ifndef TD_CORE_CORE_H
#define TD_CORE_CORE_H

#include "mdm/base/buf.h"
#include "mdm/base/rng.h"
#include "mdm/base/uuid.h"
#include "mdm/core/push.h"
#include "mdm/crypt/digest.h"
#include "mdm/store/store.h"
#include "mdm/store/sweep.h"
#include "mdm/wire/plist.h"

struct core;

/* What the CA knows of a certificate, by its hash. */
struct core_cert {
    char device_serial[72];
    char purpose[16]; /* "management" */
    bool revoked;
    int64_t not_after;
    bool renews; /* it was issued to take the place of this one: */
    uint8_t renews_sha256[SHA256_SIZE];
};

/* What a device told, beside what the protocol needs. */
enum core_told {
    CORE_TOLD_AUTHENTICATE, /* os_version, build, product */
    CORE_TOLD_ENROLLED,     /* it is enrolled now */
    CORE_TOLD_REPORT,       /* request_type, report: an acknowledged command */
    CORE_TOLD_REMOVED       /* its enrolment is over */
};
struct core_news {
    enum core_told what;
    const char *serial, *os_version, *build, *product, *request_type, *command /* UUID */;
    const struct plist *report; /* the root of it */
    int64_t now;
    const char *txn;
};

struct core_ops {
    void *ctx;
    /* In the transaction that records it; NULL where nobody listens. */
    enum td_err (*told)(void *ctx, struct tx *tx, const struct core_news *n, struct errinfo *ei);
    /* TD_NOTFOUND: not a certificate of ours. */
    enum td_err (*cert_lookup)(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                               struct core_cert *ret, struct errinfo *ei);
    /* TD_OK listed, TD_NOTFOUND not in the inventory. */
    enum td_err (*device_listed)(void *ctx, struct tx *tx, const char *serial, struct errinfo *ei);
    /* Whether a device with this certificate may call itself by that UDID: TD_FORBIDDEN with a
     * reason when it proved to be another. NULL where nothing is proved. */
    enum td_err (*udid_allowed)(void *ctx, struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                                const char *udid, struct errinfo *ei);
    /* A re-enrolment replaced this certificate: it is revoked (superseded) in the transaction. */
    enum td_err (*cert_supersede)(void *ctx, struct tx *tx,
                                  const uint8_t sha256[static SHA256_SIZE], int64_t now,
                                  const char *txn, struct errinfo *ei);
    /* A renewed identity was used for the first time: the one it took the place of, and others that
     * were issued for the same and never used, are revoked (superseded) in the transaction. NULL
     * where nothing is renewed. */
    enum td_err (*cert_renewed)(void *ctx, struct tx *tx, const uint8_t old[static SHA256_SIZE],
                                const uint8_t renewed[static SHA256_SIZE], int64_t now,
                                const char *txn, struct errinfo *ei);
};

struct core_conf {
    struct store *store;
    const struct clock *clock;
    struct rng *rng;
    struct core_ops ops;
    struct push_ops push;
    const char *topic;              /* push topic the enrolment profile names */
    const char *enrollment_profile; /* its PayloadIdentifier: what RemoveProfile names */
};

extern const struct store_stmts core_stmts;

/* Starts the push pump and the last-seen writer (two threads). */
TD_NODISCARD enum td_err core_open(const struct core_conf *conf, struct core **ret,
                                   struct errinfo *ei);
void core_close(struct core *c); /* writes what is pending, joins, frees; NULL is fine */

/* Looks at the push outbox now, not at its next turn (2 s): for callers of core_leave, behind their
 * commit. Any thread. */
void core_wake(struct core *c);

/* The reason on the one deliberate path of unenrolment (MB-3, MB-4): the edge answers it with 403
 * and the body com.apple.unrecognized.device, and nothing else with that body. */
#define CORE_REASON_UNRECOGNIZED "device-unrecognized"

/* Who speaks: the certificate whose possession the transport or the Mdm-Signature proved. */
struct core_ident {
    uint8_t cert_sha256[SHA256_SIZE];
    const char *how;  /* "mtls", "signature", "proxy": for the log */
    const char *peer; /* address */
    bool no_wait;     /* core_connect: TD_AGAIN instead of a commit, or of recording a refusal */
};

/* Handles one check-in message / one command report. `reply` gets the body (empty: 200 with zero
 * bytes, MB-1). Errors never become 401 (MB-2): a refusal is TD_FORBIDDEN with a reason (403 with
 * com.apple.unrecognized.device only on the deliberate path), our faults are 503. */
TD_NODISCARD enum td_err core_checkin(struct core *c, const struct core_ident *id, struct span body,
                                      struct arena *a, struct buf *reply, struct errinfo *ei);
TD_NODISCARD enum td_err core_connect(struct core *c, const struct core_ident *id, struct span body,
                                      struct arena *a, struct buf *reply, struct errinfo *ei);

/* --- enrolments --- */
struct core_enrollment {
    const char *id, *serial, *state, *device_name, *model, *product, *os_version, *build;
    bool pushable;
    int64_t authenticated_at, enrolled_at, left_at, last_seen_at;
    int64_t queued; /* commands waiting */
};

/* The newest enrolment of a serial. */
TD_NODISCARD enum td_err core_enrollment_get(struct tx *tx, const char *serial, struct arena *a,
                                             struct core_enrollment *ret, struct errinfo *ei);
TD_NODISCARD enum td_err core_enrollment_list(struct tx *tx, const char *after_serial, size_t max,
                                              struct arena *a, struct core_enrollment **ret,
                                              size_t *ret_n, struct errinfo *ei);

/* Whether an enrolment that is enrolled holds the certificate as its identity. */
TD_NODISCARD enum td_err core_identity_held(struct tx *tx, const uint8_t sha256[static SHA256_SIZE],
                                            bool *ret, struct errinfo *ei);

/* Inside the leaving transaction: state leaving, queue cancelled, a push asked for. From then on
 * core_connect serves the device nothing but RemoveProfile of its enrolment. */
TD_NODISCARD enum td_err core_leave(struct tx *tx, const char *serial, int64_t now,
                                    struct errinfo *ei);

/* --- commands --- */
struct core_command {
    const char *uuid, *request_type, *state, *status, *created_by;
    int64_t seq, created_at, sent_at, done_at, notnow_count;
    struct span body, result; /* raw plists; empty when not asked for or absent */
};

/* Queues a command for the newest enrolment of a serial, durable when it returns, and asks for a
 * push. `command` is the inner Command dict (with RequestType), validated by command_build or
 * command_from_plist. The uuid (UUID_SIZE) is written to ret_uuid. TD_NOTFOUND: no such
 * enrolment. TD_STATE: not enrolled, or leaving. TD_EXISTS: that CommandUUID was used. */
TD_NODISCARD enum td_err core_enqueue(struct core *c, const char *serial,
                                      const struct plist *command, const char *uuid,
                                      const char *actor, char *ret_uuid, struct errinfo *ei);

/* The same in two steps, for callers that change more in the one transaction: rendered first (in
 * the arena), queued in the caller's job, core_wake behind the commit. */
struct core_prepared {
    char uuid[UUID_SIZE], txn[RNG_ID_SIZE];
    const char *type, *actor;
    struct span body;
    int64_t now;
    bool routine; /* what the server asks by itself, time and again: not audited */
};
TD_NODISCARD enum td_err core_prepare(struct core *c, const struct plist *command, const char *uuid,
                                      const char *actor, struct arena *a, struct core_prepared *ret,
                                      struct errinfo *ei);
TD_NODISCARD enum td_err core_enqueue_in(struct tx *tx, const char *serial,
                                         const struct core_prepared *p, struct errinfo *ei);

/* Whether a command of that type waits for an enrolment, or was given out and not reported yet. */
TD_NODISCARD enum td_err core_command_open(struct tx *tx, const char *enrollment, const char *type,
                                           bool *ret, struct errinfo *ei);

/* Takes a command back that the device has not been given yet; one that it was given stays. */
TD_NODISCARD enum td_err core_command_cancel(struct tx *tx, const char *uuid, int64_t now,
                                             struct errinfo *ei);

/* One command of that serial; TD_NOTFOUND. */
TD_NODISCARD enum td_err core_command_get(struct tx *tx, const char *serial, const char *uuid,
                                          struct arena *a, struct core_command *ret,
                                          struct errinfo *ei);
/* Newest first, seq below `before`, without body and result. */
TD_NODISCARD enum td_err core_command_list(struct tx *tx, const char *serial, int64_t before,
                                           size_t max, struct arena *a, struct core_command **ret,
                                           size_t *ret_n, struct errinfo *ei);

/* --- steps of the cleaners --- */

/* Finished commands, over their final status. */
TD_NODISCARD enum td_err core_clean_commands(struct tx *tx, struct sweep *s, struct errinfo *ei);
/* Waiting commands, over their queueing: they are cancelled. A device that reports one all the same
 * is heard as MB-47 has it: nothing changes. */
TD_NODISCARD enum td_err core_clean_waiting(struct tx *tx, struct sweep *s, struct errinfo *ei);
/* Enrolments without commands, over the time they left: those that are over, and those whose device
 * never came for its removal. Its certificate is then pinned nowhere, and it a stranger. */
TD_NODISCARD enum td_err core_clean_removed(struct tx *tx, struct sweep *s, struct errinfo *ei);
TD_NODISCARD enum td_err core_clean_leaving(struct tx *tx, struct sweep *s, struct errinfo *ei);

#endif
