/* Who may have a certificate of a profile: the half of a profile that an administrator sets while
 * the server runs, kept in the database. A profile without a row is open to every listed device. */
#ifndef TD_ACME_CA_PROFILE_POLICY_H
#define TD_ACME_CA_PROFILE_POLICY_H

#include "mdm/store/store.h"

#define CA_POLICY_TEXT 512

/* Lists are words separated by one blank, in byte order, without repetition; "" for no
 * restriction. */
struct ca_policy {
    bool enabled, eab_required;
    char groups[CA_POLICY_TEXT];    /* device groups, one of which it must be in */
    char platforms[CA_POLICY_TEXT]; /* ios ipados macos tvos visionos watchos */
    char min_os[CA_POLICY_TEXT];    /* "ios=17.4 macos=14.6": least attested version */
    int64_t rev, updated_at;        /* 0: never set */
};

extern const struct store_stmts ca_policy_stmts;

/* The policy, or that of a profile nobody set. */
TD_NODISCARD enum td_err ca_policy_get(struct tx *tx, const char *profile, struct ca_policy *ret,
                                       struct errinfo *ei);

/* Brings the lists into their form; TD_INVAL "invalid-policy" names what is wrong. */
TD_NODISCARD enum td_err ca_policy_judge(struct ca_policy *p, struct errinfo *ei);

/* Stores a judged one; if_match is the rev the caller saw, -1 for any: TD_CONFLICT, http 412.
 * Audited. p->rev becomes the new one. */
TD_NODISCARD enum td_err ca_policy_put(struct tx *tx, const char *profile, struct ca_policy *p,
                                       int64_t if_match, int64_t now, const char *actor,
                                       const char *txn, struct errinfo *ei);

/* A device that asks. */
struct ca_candidate {
    const char *platform; /* "" when it cannot be told */
    struct span groups;   /* words separated by blanks */
    bool attested;        /* the evidence is there; before that, versions are not asked */
    struct span os_version;
};

/* TD_FORBIDDEN, with a reason: "profile-disabled", "profile-not-allowed" (groups, platform),
 * "os-unknown", "os-too-old". */
TD_NODISCARD enum td_err ca_policy_allows(const struct ca_policy *p, const struct ca_candidate *c,
                                          struct errinfo *ei);

#endif
