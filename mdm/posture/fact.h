/* What is known of a device: which facts there are, and what a report, an attestation or another
 * system says of them. Pure: no storage. A fact that is not said is unknown, never good. */
#ifndef TD_POSTURE_FACT_H
#define TD_POSTURE_FACT_H

#include "mdm/wire/json.h"
#include "mdm/wire/plist.h"

/* On whose word, the weightiest first. The numbers are in the database. */
enum posture_source {
    POSTURE_ATTESTED, /* signed by the device's maker */
    POSTURE_REPORTED, /* by the device's management client, which a taken-over system can forge */
    POSTURE_EXTERNAL, /* by another system through the API */
    POSTURE_OBSERVED, /* by this server: the facts enrolled and seen */
    POSTURE_SOURCES
};
const char *posture_source_name(enum posture_source s); /* "attested" */

enum posture_kind {
    POSTURE_BOOL,    /* "true", "false" */
    POSTURE_WORD,    /* one of a closed set */
    POSTURE_VERSION, /* numbers and dots: "17.4.1" */
    POSTURE_TEXT     /* any: a build, a model */
};
const char *posture_kind_name(enum posture_kind k); /* "boolean", "word", "version", "text" */

#define POSTURE_NAME_MAX 64   /* bytes of a fact's or rule's name */
#define POSTURE_VALUE_MAX 128 /* bytes of a value */
#define POSTURE_EXTERNAL_PREFIX "external."
#define POSTURE_FACT_ENROLLED "enrolled" /* the two that this server says itself */
#define POSTURE_FACT_SEEN "seen"

/* How a source says a value where its form is not ours: a text, or a number when that is NULL. */
struct posture_map {
    const char *said;
    int64_t number;
    const char *value; /* NULL ends a map */
};

/* What of Authenticate says it. */
enum posture_checkin {
    POSTURE_SAYS_NONE,
    POSTURE_SAYS_OS,
    POSTURE_SAYS_BUILD,
    POSTURE_SAYS_PRODUCT
};

/* A row of the table. */
struct posture_fact {
    const char *name; /* "filevault" */
    enum posture_kind kind;
    const char *words;     /* of POSTURE_WORD, separated by blanks */
    const char *platforms; /* that can say it, "" for all */
    const char *doc;
    const char *attested; /* member of the evidence's facts, NULL for none */
    const char *query;    /* of DeviceInformation, NULL for none */
    const char *security; /* of SecurityInfo, with dots into dictionaries, NULL for none */
    const struct posture_map *attested_map; /* of all texts that an attestation has; NULL: ours */
    const struct posture_map *map;          /* of reports, beside our form; NULL for none */
    enum posture_checkin checkin;
};

/* 1 to `max` of a-z 0-9 - _ */
bool posture_name(struct span s, size_t max);

/* The table in the order of names; NULL behind the end. */
const struct posture_fact *posture_fact_at(size_t i);
#define POSTURE_FACTS_MAX 40 /* rows at most */

/* By name. Names external.NAME (NAME: a-z 0-9 - _ at most 40) share one row, a boolean; NULL when
 * there is no such fact. */
const struct posture_fact *posture_fact_find(struct span name);

/* One value as it was said; strings in the arena or static. The value is in its kind's one form. */
struct posture_obs {
    const char *name;
    enum posture_source source;
    const char *value;
    int64_t at;
    int64_t since; /* it has that value; of observations from the database */
    bool fresh;    /* said just now, not read from the database */
};

/* The canonical form of a value: false when it is none of that kind (a word that is not in the set,
 * a text that is empty, too long or not printable ASCII, or has blanks around it). Versions have
 * two numbers at least and no 0 behind those: "14" and "14.0.0" are "14.0". `out` has
 * POSTURE_VALUE_MAX + 1 bytes. */
bool posture_value(const struct posture_fact *f, struct span text,
                   char out[static POSTURE_VALUE_MAX + 1]);

/* What the report (its root dict) of an acknowledged command says (request types SecurityInfo and
 * DeviceInformation; of others nothing). Wrong types, and words outside the set, are not said.
 * `ret` has POSTURE_FACTS_MAX rows. TD_NOMEM alone. */
TD_NODISCARD enum td_err posture_facts_report(const char *request_type, const struct plist *report,
                                              int64_t at, struct arena *a, struct posture_obs *ret,
                                              size_t *ret_n);

/* The attestation in such a report, certificates with the leaf first, at most `max`: *ret_n 0 when
 * there is none, or one that is none. In the arena. */
TD_NODISCARD enum td_err posture_facts_chain(const struct plist *report, struct arena *a,
                                             struct span *ret, size_t max, size_t *ret_n);

/* What the evidence of an attestation says (attest_facts_json). */
TD_NODISCARD enum td_err posture_facts_evidence(const struct json *evidence, int64_t at,
                                                struct arena *a, struct posture_obs *ret,
                                                size_t *ret_n);

/* What Authenticate says; empty texts are not said. */
TD_NODISCARD enum td_err posture_facts_checkin(const char *os_version, const char *build,
                                               const char *product, int64_t at, struct arena *a,
                                               struct posture_obs *ret, size_t *ret_n);

#define POSTURE_NONCE_SIZE 32 /* Apple: at most */

/* The DeviceInformation queries that the table needs, as a Command dict with RequestType; and
 * SecurityInfo's. With a nonce an attestation is asked for, which is to carry it. In the arena;
 * NULL without memory. */
struct plist *posture_query_device(struct span nonce, struct arena *a);
struct plist *posture_query_security(struct arena *a);

#endif
