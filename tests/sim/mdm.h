/* The MDM client: check-in messages and the command loop, over mTLS and/or Mdm-Signature. */
#ifndef TD_SIM_MDM_H
#define TD_SIM_MDM_H

#include "tests/sim/answers.h"
#include "tests/sim/http.h"
#include "tests/sim/refusal.h"

enum mdm_auth {
    MDM_AUTH_PROFILE,  /* mTLS, and Mdm-Signature when the profile says SignMessage */
    MDM_AUTH_MTLS,     /* mTLS alone */
    MDM_AUTH_SIGNATURE /* Mdm-Signature alone: no client certificate is shown */
};

/* A connection of one device. One thread. */
struct mdm {
    struct device *d;
    struct answers_env env;
    struct http_client http;
    enum mdm_auth auth;
    /* Commands answered NotNow once per session: RequestTypes, CommandUUIDs or "all". */
    const char *const *notnow;
    size_t nnotnow;
    struct refusal why; /* of the last failure */
};

void mdm_init(struct mdm *m, struct device *d, SSL_CTX *tls, struct pki *pki, enum mdm_auth auth,
              int timeout_ms);
void mdm_free(struct mdm *m);
#define mdm_auto __attribute__((cleanup(mdm_free))) struct mdm

/* Check-in messages; each is one PUT that must be answered by an empty 200. */
enum td_err mdm_authenticate(struct mdm *m, struct errinfo *ei);
enum td_err mdm_token_update(struct mdm *m, struct errinfo *ei);
enum td_err mdm_check_out(struct mdm *m, struct errinfo *ei);

/* Sends any body to a URL as this device; a status that is not 2xx is TD_FORBIDDEN. *ret is
 * initialised and the caller's to free, on failure too. */
enum td_err mdm_put(struct mdm *m, const char *step, const char *url, bool checkin,
                    struct span body, struct httpread_resp *ret, struct errinfo *ei);

/* Appends a report: Status, and CommandUUID unless NULL, and further members as XML. */
void mdm_report(const struct mdm *m, const char *status, const char *uuid, const char *xml,
                struct buf *b);

/* The command in an answer: *ret_uuid NULL when the answer is empty. */
enum td_err mdm_command(struct mdm *m, const struct httpread_resp *r, struct arena *a,
                        const char **ret_uuid, struct plist **ret_command, struct errinfo *ei);

struct mdm_counts {
    unsigned reports, commands, notnow, errors;
};

/* A session: Idle, then every command is executed and reported until an empty answer. The
 * device's state changes in memory; *ret_changed tells the caller to save it. When the enrolment
 * profile was removed, CheckOut is sent if the profile asked for it. A 401 and
 * com.apple.unrecognized.device remove the enrolment, as on a device. */
enum td_err mdm_session(struct mdm *m, struct mdm_counts *counts, bool *ret_changed,
                        struct errinfo *ei);

#endif
