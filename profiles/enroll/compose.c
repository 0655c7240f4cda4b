#include "profiles/enroll/enroll_int.h"
#include "profiles/enroll/push.h"
#include "profiles/payload.h"

/* 1 to 4096 all set: what the classic device enrolment may ask for */
#define RIGHTS_ALL 8191

struct draft {
    const struct enroll_conf *conf;
    struct arena *a;
    const char *serial, *client_id;
    const char *base, *cert_profile; /* PayloadIdentifier of the profile; what is asked of ACME */
    struct payload_profile profile;
    char identity[UUID_SIZE]; /* PayloadUUID of the identity */
};

static enum td_err common(const struct draft *d, const char *part, const char *name,
                          struct payload_common *ret, struct errinfo *ei)
{
    char *identifier = arena_printf(d->a, "%s%s%s", d->base, *part ? "." : "", part);
    char *scope = identifier ? arena_printf(d->a, "%s %s", identifier, d->serial) : NULL;
    char *uuid = arena_alloc(d->a, UUID_SIZE);
    if (!scope || !uuid)
        return err_set(ei, TD_NOMEM, "no memory for the profile");
    payload_uuid(scope, "", uuid);
    *ret = (struct payload_common){.identifier = identifier, .uuid = uuid, .display_name = name};
    if (d->conf->organization && *d->conf->organization)
        ret->organization = d->conf->organization;
    return TD_OK;
}

static enum td_err add_root(struct draft *d, struct errinfo *ei)
{
    struct payload_common c = {0};
    TD_TRY(common(d, "root", "Certificate authority", &c, ei));
    return payload_root(&d->profile, &c, cert_der(d->conf->root), ei);
}

/* A new ClientIdentifier is a new identity: another PayloadUUID, so that the device makes a new key
 * also when the profile replaces one that it has. */
static enum td_err add_identity(struct draft *d, struct errinfo *ei)
{
    struct payload_common c = {0};
    TD_TRY(common(d, "identity", "Device identity", &c, ei));
    payload_uuid(c.uuid, d->client_id, d->identity);
    c.uuid = d->identity;
    const char *url =
        arena_printf(d->a, "%s/acme/%s/directory", d->conf->public_url, d->cert_profile);
    if (!url)
        return err_set(ei, TD_NOMEM, "no memory for the profile");
    const struct payload_acme acme = {.directory_url = url,
                                      .client_identifier = d->client_id,
                                      .key_size = d->conf->key_size,
                                      .common_name = d->serial};
    return payload_acme(&d->profile, &c, &acme, ei);
}

static enum td_err add_mdm(struct draft *d, struct errinfo *ei)
{
    struct payload_common c = {0};
    TD_TRY(common(d, "mdm", "Device management", &c, ei));
    const struct payload_mdm mdm = {
        .identity_uuid = d->identity,
        .topic = d->conf->topic,
        .server_url = arena_printf(d->a, "%s/mdm/connect", d->conf->device_url),
        .checkin_url = arena_printf(d->a, "%s/mdm/checkin", d->conf->device_url),
        .access_rights = RIGHTS_ALL,
        .sign_message = d->conf->sign_message,
    };
    if (!mdm.server_url || !mdm.checkin_url)
        return err_set(ei, TD_NOMEM, "no memory for the profile");
    return payload_mdm(&d->profile, &c, &mdm, ei);
}

enum td_err enroll_compose(struct enroll *e, const char *serial, const char *client_id,
                           struct arena *a, struct buf *b, struct errinfo *ei)
{
    struct draft d = {.conf = &e->conf,
                      .a = a,
                      .serial = serial,
                      .client_id = client_id,
                      .base = e->conf.identifier,
                      .cert_profile = e->conf.cert_profile};
    struct payload_common c = {0};
    const char *org = e->conf.organization;
    const char *name =
        org && *org ? arena_printf(a, "%s device management", org) : "Device management";
    if (!name)
        return err_set(ei, TD_NOMEM, "no memory for the profile");
    TD_TRY(common(&d, "", name, &c, ei));
    c.description = "Gives the device an identity of its own and lets the organization manage it.";
    TD_TRY(payload_profile_new(&c, a, &d.profile, ei));
    TD_TRY(add_root(&d, ei));
    TD_TRY(add_identity(&d, ei));
    TD_TRY(add_mdm(&d, ei));
    return plist_xml(d.profile.root, b);
}

char *enroll_access_identifier(const struct enroll *e, const char *cert_profile, struct arena *a)
{
    return arena_printf(a, "%s.access.%s", e->conf.identifier, cert_profile);
}

static enum td_err add_wifi(struct draft *d, const struct enroll_access *x, struct errinfo *ei)
{
    struct payload_common c = {0};
    TD_TRY(common(d, "wifi", x->wifi_ssid, &c, ei));
    const struct payload_wifi wifi = {.ssid = x->wifi_ssid,
                                      .identity_uuid = d->identity,
                                      .server_names = span_str(x->wifi_servers)};
    return payload_wifi(&d->profile, &c, &wifi, d->a, ei);
}

enum td_err enroll_compose_access(struct enroll *e, const char *serial,
                                  const struct enroll_access *x, const char *client_id,
                                  struct arena *a, struct buf *b, struct errinfo *ei)
{
    struct draft d = {.conf = &e->conf,
                      .a = a,
                      .serial = serial,
                      .client_id = client_id,
                      .base = enroll_access_identifier(e, x->profile, a),
                      .cert_profile = x->profile};
    struct payload_common c = {0};
    const char *name = *x->wifi_ssid ? arena_printf(a, "Network %s", x->wifi_ssid)
                                     : arena_printf(a, "Identity %s", x->profile);
    if (!name || !d.base)
        return err_set(ei, TD_NOMEM, "no memory for the profile");
    TD_TRY(common(&d, "", name, &c, ei));
    c.description = "Gives the device an identity for networks and services.";
    TD_TRY(payload_profile_new(&c, a, &d.profile, ei));
    TD_TRY(add_identity(&d, ei));
    if (*x->wifi_ssid)
        TD_TRY(add_wifi(&d, x, ei));
    return plist_xml(d.profile.root, b);
}
