/* The templates of certificate profiles: "{serial}", "spiffe://td.example/device/{serial}". What a
 * value may look like depends on where it goes; nothing is cut or replaced to make it fit. */
#ifndef TD_ACME_SIGNER_PROTO_PROFILE_TEXT_H
#define TD_ACME_SIGNER_PROTO_PROFILE_TEXT_H

#include "acme/signer/proto/profile_fact.h"
#include "mdm/base/arena.h"
#include "mdm/base/err.h"

enum profile_field {
    PROFILE_CN,    /* text: no control characters, at most 64 characters */
    PROFILE_OU,    /* the same */
    PROFILE_ID,    /* PermanentIdentifier: the same, 256 bytes, without '/' (RFC 4043) */
    PROFILE_DNS,   /* dNSName: written in lower case; letters, digits, '-' and '.' */
    PROFILE_EMAIL, /* rfc822Name: the characters of a dot-atom and '@' */
    PROFILE_URI, /* other characters of values are percent-encoded; in spiffe:// they do not fit */
    PROFILE_FIELDS
};

const char *profile_text_field(enum profile_field f);

/* Whether the template can work: braces closed, facts known, its own characters fit the field. With
 * `numbered` false it must not name a serial number or UDID. TD_INVAL says what is wrong. */
TD_NODISCARD enum td_err profile_text_check(enum profile_field f, const char *text, bool numbered,
                                            struct errinfo *ei);

/* Fills in the facts: *ret in the arena, NULL for an empty template. TD_FORBIDDEN with reason
 * "fact-missing" when the device lacks one, "fact-unfit" when its value cannot stand there. */
TD_NODISCARD enum td_err profile_text_expand(enum profile_field f, const char *text,
                                             const struct profile_facts *facts, struct arena *a,
                                             const char **ret, struct errinfo *ei);

#endif
