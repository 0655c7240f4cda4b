#include "profiles/payload.h"

#include <stdio.h>

#include "mdm/base/buf.h"
#include "mdm/base/str.h"
#include "mdm/crypt/digest.h"

/* id-kp-clientAuth, RFC 5280 section 4.2.1.12 */
#define CLIENT_AUTH "1.3.6.1.5.5.7.3.2"
#define USAGE_SIGN 1
#define EAP_TLS 13 /* RFC 5216 section 3.1 */

/* The builders return only TD_NOMEM; this gives it words. */
static enum td_err done(enum td_err e, struct errinfo *ei)
{
    return e == TD_OK ? TD_OK : err_set(ei, e, "no memory for a profile");
}

static enum td_err common(struct plist *d, const char *type, const struct payload_common *c)
{
    if (!d)
        return TD_NOMEM;
    TD_TRY(plist_set_str(d, "PayloadType", type));
    TD_TRY(plist_set_int(d, "PayloadVersion", 1));
    TD_TRY(plist_set_str(d, "PayloadIdentifier", c->identifier));
    TD_TRY(plist_set_str(d, "PayloadUUID", c->uuid));
    TD_TRY(plist_set_str(d, "PayloadDisplayName", c->display_name));
    if (c->description)
        TD_TRY(plist_set_str(d, "PayloadDescription", c->description));
    if (c->organization)
        TD_TRY(plist_set_str(d, "PayloadOrganization", c->organization));
    return TD_OK;
}

enum td_err payload_profile_new(const struct payload_common *c, struct arena *a,
                                struct payload_profile *ret, struct errinfo *ei)
{
    struct payload_profile p = {.root = plist_new_dict(a)};
    TD_TRY(done(common(p.root, "Configuration", c), ei));
    TD_TRY(done(plist_set_str(p.root, "PayloadScope", "System"), ei));
    p.content = plist_add_array(p.root, "PayloadContent");
    if (!p.content)
        return done(TD_NOMEM, ei);
    *ret = p;
    return TD_OK;
}

enum td_err payload_root(struct payload_profile *p, const struct payload_common *c, struct span der,
                         struct errinfo *ei)
{
    struct plist *d = plist_push_dict(p->content);
    TD_TRY(done(common(d, "com.apple.security.root", c), ei));
    TD_TRY(done(plist_set_str(d, "PayloadCertificateFileName", "root.cer"), ei));
    return done(plist_set_data(d, "PayloadContent", der), ei);
}

/* [[["CN", name]]]: an array of RDNs, each an array of [OID, value] pairs. */
static enum td_err subject(struct plist *d, const char *name)
{
    struct plist *rdns = plist_add_array(d, "Subject");
    struct plist *rdn = rdns ? plist_push_array(rdns) : NULL;
    struct plist *pair = rdn ? plist_push_array(rdn) : NULL;
    if (!pair)
        return TD_NOMEM;
    TD_TRY(plist_push_str(pair, "CN"));
    return plist_push_str(pair, name);
}

enum td_err payload_acme(struct payload_profile *p, const struct payload_common *c,
                         const struct payload_acme *acme, struct errinfo *ei)
{
    if (acme->key_size != 256 && acme->key_size != 384)
        return err_set(ei, TD_INVAL, "a hardware-bound key has 256 or 384 bits");
    struct plist *d = plist_push_dict(p->content);
    TD_TRY(done(common(d, "com.apple.security.acme", c), ei));
    TD_TRY(done(plist_set_str(d, "DirectoryURL", acme->directory_url), ei));
    TD_TRY(done(plist_set_str(d, "ClientIdentifier", acme->client_identifier), ei));
    TD_TRY(done(plist_set_str(d, "KeyType", "ECSECPrimeRandom"), ei));
    TD_TRY(done(plist_set_int(d, "KeySize", acme->key_size), ei));
    TD_TRY(done(plist_set_bool(d, "HardwareBound", true), ei));
    TD_TRY(done(plist_set_bool(d, "Attest", true), ei));
    TD_TRY(done(plist_set_int(d, "UsageFlags", USAGE_SIGN), ei));
    TD_TRY(done(subject(d, acme->common_name), ei));
    struct plist *eku = plist_add_array(d, "ExtendedKeyUsage");
    return done(eku ? plist_push_str(eku, CLIENT_AUTH) : TD_NOMEM, ei);
}

static enum td_err eap_tls(struct plist *d, struct span names, struct arena *a)
{
    struct plist *eap = plist_add_dict(d, "EAPClientConfiguration");
    struct plist *types = eap ? plist_add_array(eap, "AcceptEAPTypes") : NULL;
    if (!types)
        return TD_NOMEM;
    TD_TRY(plist_push_int(types, EAP_TLS));
    TD_TRY(plist_set_str(eap, "TLSMinimumVersion", "1.2"));
    if (names.n == 0)
        return TD_OK;
    struct plist *list = plist_add_array(eap, "TLSTrustedServerNames");
    while (list && names.p) {
        struct span one = str_cut(&names, ' ');
        char *name = one.n ? arena_dup(a, one) : NULL;
        if (one.n && !name)
            return TD_NOMEM;
        if (name)
            TD_TRY(plist_push_str(list, name));
    }
    return list ? TD_OK : TD_NOMEM;
}

enum td_err payload_wifi(struct payload_profile *p, const struct payload_common *c,
                         const struct payload_wifi *wifi, struct arena *a, struct errinfo *ei)
{
    struct plist *d = plist_push_dict(p->content);
    TD_TRY(done(common(d, "com.apple.wifi.managed", c), ei));
    TD_TRY(done(plist_set_str(d, "SSID_STR", wifi->ssid), ei));
    TD_TRY(done(plist_set_str(d, "EncryptionType", "WPA2"), ei));
    TD_TRY(done(plist_set_bool(d, "AutoJoin", true), ei));
    TD_TRY(done(plist_set_bool(d, "HIDDEN_NETWORK", false), ei));
    TD_TRY(done(plist_set_str(d, "PayloadCertificateUUID", wifi->identity_uuid), ei));
    return done(eap_tls(d, wifi->server_names, a), ei);
}

enum td_err payload_mdm(struct payload_profile *p, const struct payload_common *c,
                        const struct payload_mdm *mdm, struct errinfo *ei)
{
    struct plist *d = plist_push_dict(p->content);
    TD_TRY(done(common(d, "com.apple.mdm", c), ei));
    TD_TRY(done(plist_set_str(d, "IdentityCertificateUUID", mdm->identity_uuid), ei));
    TD_TRY(done(plist_set_str(d, "Topic", mdm->topic), ei));
    TD_TRY(done(plist_set_str(d, "ServerURL", mdm->server_url), ei));
    TD_TRY(done(plist_set_str(d, "CheckInURL", mdm->checkin_url), ei));
    TD_TRY(done(plist_set_int(d, "AccessRights", mdm->access_rights), ei));
    TD_TRY(done(plist_set_bool(d, "SignMessage", mdm->sign_message), ei));
    /* Neither a user channel nor escrow of bootstrap tokens is offered: no ServerCapabilities. */
    return done(plist_set_bool(d, "CheckOutWhenRemoved", true), ei);
}

void payload_uuid(const char *scope, const char *name, char out[static UUID_SIZE])
{
    /* both digests have a fixed size: no two pairs of inputs give the same bytes */
    uint8_t parts[2 * SHA256_SIZE], h[SHA256_SIZE];
    digest_sha256(span_str(scope), parts);
    digest_sha256(span_str(name), parts + SHA256_SIZE);
    digest_sha256(SPAN_ARR(parts), h);
    h[6] = (uint8_t)((h[6] & 0x0f) | 0x80);
    h[8] = (uint8_t)((h[8] & 0x3f) | 0x80);
    snprintf(out, UUID_SIZE, "%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X",
             h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10], h[11], h[12], h[13],
             h[14], h[15]);
}
