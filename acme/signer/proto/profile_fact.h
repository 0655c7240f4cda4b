/* What is known of a device when a certificate is made for it, as typed values: they travel to the
 * signer with ISSUE, and the templates of certificate profiles name them. */
#ifndef TD_ACME_SIGNER_PROTO_PROFILE_FACT_H
#define TD_ACME_SIGNER_PROTO_PROFILE_FACT_H

#include <stdbool.h>

#include "mdm/base/span.h"

/* The number is the one on the wire. New ones go to the end. */
enum profile_fact_id {
    FACT_SERIAL,
    FACT_UDID,
    FACT_MODEL, /* SoftwareUpdateDeviceID */
    FACT_OS_VERSION,
    FACT_SEPOS_VERSION,
    FACT_LLB_VERSION,
    FACT_SIP, /* "enabled", "disabled" */
    FACT_SECURE_BOOT,
    FACT_KEXTS, /* "allowed", "not-allowed" */
    FACT_OWNER,
    FACT_NAME,
    FACT_GROUPS, /* separated by blanks */
    FACT_MAX
};

/* On whose word: Apple's attestation, or the inventory. */
enum profile_fact_source { FACT_FROM_EVIDENCE, FACT_FROM_INVENTORY, FACT_SOURCES };

#define PROFILE_FACT_VALUE_MAX 512

struct profile_fact {
    struct span value; /* n == 0: not known */
    enum profile_fact_source source;
};

struct profile_facts {
    struct profile_fact of[FACT_MAX];
};

/* "serial", "udid" ... as templates name it. */
const char *profile_fact_name(enum profile_fact_id id);
/* FACT_MAX when no fact has that name. */
enum profile_fact_id profile_fact_find(struct span name);

/* Puts a value in; an empty one stays unknown. */
void profile_fact_set(struct profile_facts *f, enum profile_fact_id id, struct span value,
                      enum profile_fact_source source);

#endif
