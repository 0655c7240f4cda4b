/* Rules: what must hold of a device, and what follows where it does not. Pure: no storage. */
#ifndef TD_POSTURE_RULE_H
#define TD_POSTURE_RULE_H

#include "mdm/posture/fact.h"

enum posture_op {
    POSTURE_EQ,    /* "=" any kind */
    POSTURE_NE,    /* "!=" */
    POSTURE_IN,    /* "in": one of several, an array in JSON; words and texts */
    POSTURE_LEAST, /* ">=" versions */
    POSTURE_BELOW  /* "<" versions */
};

#define POSTURE_RULE_TEXT 256   /* bytes of description and message */
#define POSTURE_RULE_VALUES 512 /* bytes of the values together */
#define POSTURE_RULE_WORDS 256  /* bytes of platforms, of groups */
#define POSTURE_CONFIRM_LIMIT 10
#define POSTURE_RULES_MAX 100 /* rules there may be */

struct posture_rule {
    char name[POSTURE_NAME_MAX + 1];         /* a-z 0-9 - _ */
    char description[POSTURE_RULE_TEXT + 1]; /* for administrators */
    char message[POSTURE_RULE_TEXT + 1];     /* for the device's user: what to do */
    char platforms[POSTURE_RULE_WORDS];      /* words; "" for all that can say the fact */
    char groups[POSTURE_RULE_WORDS];         /* device groups; "" for all */
    char fact[POSTURE_NAME_MAX + 1];
    enum posture_op op;
    char values[POSTURE_RULE_VALUES]; /* canonical; several with '\n' between */
    bool attested;                    /* believe attested values alone */
    int64_t max_age;                  /* seconds; an older value is unknown; 0: any age */
    bool unknown_fails;               /* unknown counts as failed */
    int64_t confirm; /* 1..POSTURE_CONFIRM_LIMIT: readings of a reported value that must fail */
    int64_t grace;   /* seconds from failing to the hold */
    int64_t revoke_after; /* seconds from the hold to revocation; 0: never */
    bool enforce;         /* false: verdicts only, no hold */
    bool enabled;
    int64_t rev, updated_at; /* of the row; not in JSON's input */
};

/* From JSON, all members optional but fact and value: {"description", "message", "platforms": [],
 * "groups": [], "fact", "op" ("=" when absent), "value": true | "text" | ["a", "b"] (for "in"),
 * "attested", "max_age", "unknown": "ignore" | "fail", "confirm", "grace", "revoke_after",
 * "enforce", "enabled"}. Durations are integers, seconds, at most 365 days. Defaults: enforce and
 * enabled true, unknown "ignore", confirm 2, the rest 0 or empty. Refused with a text that names
 * the member and TD_INVAL, reason "invalid-rule": unknown members, wrong types, names and words
 * that cannot be, a value that is none of the fact's kind, an operator that does not fit the kind,
 * attested for a fact no attestation has, platforms that can never say the fact. Lists are sorted,
 * each word once. */
TD_NODISCARD enum td_err posture_rule_parse(struct span name, const struct json *body,
                                            struct posture_rule *ret, struct errinfo *ei);

/* The members in the same form, all of them, into an object that is open. */
void posture_rule_members(struct json_w *w, const struct posture_rule *r);

/* An object with those, "name", "rev" and "updated_at". */
void posture_rule_write(struct json_w *w, const struct posture_rule *r);

/* Whether a rule is for a device of that platform and these groups (words separated by a blank).
 * A rule without platforms is for those that can say its fact, so that a Mac's fact is not missed
 * on an iPhone; and for devices of which the platform is not known (""). */
bool posture_rule_applies(const struct posture_rule *r, struct span platform, struct span groups);

/* Whether a canonical value satisfies the rule's condition. */
bool posture_rule_holds(const struct posture_rule *r, const char *value);

#endif
