/* The enrolment profile: fetched, its CMS signature verified, its payloads read. */
#ifndef TD_SIM_PROFILE_H
#define TD_SIM_PROFILE_H

#include "mdm/base/arena.h"
#include "mdm/wire/plist.h"
#include "tests/sim/ossl.h"

/* Spans, strings and nodes live in the arena of profile_parse. */
struct profile {
    const char *type, *identifier, *uuid, *display_name; /* top level */
    struct span root_der; /* first com.apple.security.root; may be empty */
    struct {
        const char *uuid, *directory, *client_id, *key_type;
        int64_t key_size, usage;
        bool hardware_bound, attest;
        const struct plist *subject, *san, *eku; /* NULL when absent */
    } acme;
    struct {
        const char *identity_uuid, *server_url, *checkin_url, *topic;
        bool sign_message, checkout_when_removed;
    } mdm;
};

/* Verifies an attached CMS SignedData against the anchors of `trust` and gives its content (in
 * the arena). TD_CRYPTO when it does not verify, TD_PARSE when it is no CMS. */
enum td_err profile_open_cms(struct span cms, X509_STORE *trust, struct arena *a, struct span *ret,
                             struct errinfo *ei);

/* The content of a CMS SignedData, or the bytes themselves when they are a bare plist: for profiles
 * that come through the MDM channel, whose signature the device need not trust. */
enum td_err profile_content(struct span in, struct arena *a, struct span *ret, struct errinfo *ei);

/* Reads any profile; the members of payloads that are not there are NULL. */
enum td_err profile_parse_any(struct span xml, struct arena *a, struct profile *ret,
                              struct errinfo *ei);

/* Reads an enrolment profile. TD_PARSE names the payload or key that is missing or wrong. */
enum td_err profile_parse(struct span xml, struct arena *a, struct profile *ret,
                          struct errinfo *ei);

#endif
