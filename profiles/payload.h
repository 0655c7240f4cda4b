/* Configuration profiles, piece by piece: the container and the payloads an enrolment needs. Each
 * builder appends one payload to the profile's PayloadContent. Strings are copied; all escaping is
 * the plist writer's (MB-74). Keys after Apple's schema, mdm/profiles. */
#ifndef TD_PROFILES_PAYLOAD_H
#define TD_PROFILES_PAYLOAD_H

#include "mdm/base/uuid.h"
#include "mdm/wire/plist.h"

/* What every payload carries (CommonPayloadKeys). */
struct payload_common {
    const char *identifier, *uuid, *display_name;
    const char *description, *organization; /* NULL: left out */
};

struct payload_profile {
    struct plist *root;    /* freed with the arena */
    struct plist *content; /* PayloadContent */
};

/* An empty profile (TopLevel, scope System: no user channel, MB-67). */
TD_NODISCARD enum td_err payload_profile_new(const struct payload_common *c, struct arena *a,
                                             struct payload_profile *ret, struct errinfo *ei);

/* com.apple.security.root: a trusted certificate, DER. */
TD_NODISCARD enum td_err payload_root(struct payload_profile *p, const struct payload_common *c,
                                      struct span der, struct errinfo *ei);

/* com.apple.security.acme: a hardware-bound, attested EC key. */
struct payload_acme {
    const char *directory_url, *client_identifier;
    int key_size;            /* 256 or 384: what the Secure Enclave has */
    const char *common_name; /* of the requested subject; the server writes its own */
};
TD_NODISCARD enum td_err payload_acme(struct payload_profile *p, const struct payload_common *c,
                                      const struct payload_acme *acme, struct errinfo *ei);

/* com.apple.wifi.managed: a network with EAP-TLS, by an identity in the same profile (references
 * between profiles do not exist). */
struct payload_wifi {
    const char *ssid, *identity_uuid;
    struct span server_names; /* of RADIUS servers, separated by blanks; empty: none named */
};
TD_NODISCARD enum td_err payload_wifi(struct payload_profile *p, const struct payload_common *c,
                                      const struct payload_wifi *wifi, struct arena *a,
                                      struct errinfo *ei);

/* com.apple.mdm: the management itself. Topic, both URLs, the rights and the PayloadIdentifier must
 * stay what they are for as long as a device is enrolled (MB-28). */
struct payload_mdm {
    const char *identity_uuid; /* PayloadUUID of the identity in the same profile */
    const char *topic, *server_url, *checkin_url;
    int64_t access_rights;
    bool sign_message;
};
TD_NODISCARD enum td_err payload_mdm(struct payload_profile *p, const struct payload_common *c,
                                     const struct payload_mdm *mdm, struct errinfo *ei);

/* A UUID that depends on its inputs alone (RFC 9562 section 5.8 over SHA-256), so that a profile
 * made again for the same device updates what it installed. */
void payload_uuid(const char *scope, const char *name, char out[static UUID_SIZE]);

#endif
