/* One device's way in: enrolment page, ACME, check-in, first connect. */
#ifndef TD_SIM_ENROLL_H
#define TD_SIM_ENROLL_H

#include "tests/sim/acme.h"
#include "tests/sim/mdm.h"
#include "tests/sim/opts.h"

/* What all devices of a run share; read-only while threads run. */
struct enroll_ctx {
    const struct opts *o;
    SSL_CTX *tls;
    X509_STORE *trust; /* for the profile's signature */
    struct pki *pki;   /* may be NULL where no attestation is made */
    char token[256];   /* of the API, "" without */
    int acks;          /* file of what was acknowledged, or -1 */
};

/* Loads what the options name: CA file, PKI, token. Missing ones are left out. */
enum td_err enroll_ctx_open(const struct opts *o, struct enroll_ctx *ret, struct errinfo *ei);
void enroll_ctx_close(struct enroll_ctx *c);
#define enroll_ctx_auto __attribute__((cleanup(enroll_ctx_close))) struct enroll_ctx

enum mdm_auth enroll_auth(const struct opts *o);
int enroll_timeout_ms(const struct opts *o);
int enroll_retry_ms(const struct opts *o);

enum enroll_phase {
    ENROLL_PAGE,
    ENROLL_ACME,
    ENROLL_CHECKIN,
    ENROLL_CONNECT,
    ENROLL_TOTAL,
    ENROLL_PHASES
};
const char *enroll_phase_name(enum enroll_phase p);

/* GET of an enrolment URL: a signed profile whose payloads make sense, in the arena. */
enum td_err enroll_fetch(const struct enroll_ctx *c, const char *url, struct arena *a,
                         struct profile *ret, struct refusal *why, struct errinfo *ei);

/* Takes over what the profile says about the MDM server. */
enum td_err enroll_adopt(struct device *d, const struct profile *p, struct errinfo *ei);

/* The identity that the profile asks for, by ACME over a new connection; the device gets it. */
enum td_err enroll_identity(const struct enroll_ctx *c, struct device *d, const struct profile *p,
                            struct refusal *why, struct errinfo *ei);

/* The whole enrolment of a device that device_init made. us[] gets the microseconds of the phases
 * reached (others 0). The caller saves the device. */
enum td_err enroll_run(const struct enroll_ctx *c, struct device *d, const char *url,
                       uint64_t us[static ENROLL_PHASES], struct refusal *why, struct errinfo *ei);

#endif
