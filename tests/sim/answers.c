#include "tests/sim/answers.h"

#include "mdm/base/clock.h"
#include "tests/sim/acme.h"
#include "tests/sim/plistw.h"
#include "tests/sim/profile.h"

struct job {
    struct device *d;
    struct posture says;
    struct pki *pki;
    const struct answers_env *env;
    const struct plist *command;
    struct arena *a;
    struct answers *r;
    struct errinfo *ei;
};

const char *answers_word(enum answers_status s)
{
    static const char *const words[] = {"Acknowledged", "Error", "CommandFormatError"};
    return words[s];
}

/* Status Error or CommandFormatError with one entry of the chain. */
static enum td_err fail(struct job *j, enum answers_status s, int code, const char *text)
{
    buf_reset(&j->r->xml);
    j->r->status = s;
    plistw_key(&j->r->xml, "ErrorChain");
    plistw_raw(&j->r->xml, "<array><dict>\n");
    plistw_int(&j->r->xml, "ErrorCode", code);
    plistw_str(&j->r->xml, "ErrorDomain", "MCMDMErrorDomain");
    plistw_str(&j->r->xml, "LocalizedDescription", text);
    plistw_str(&j->r->xml, "USEnglishDescription", text);
    plistw_raw(&j->r->xml, "</dict></array>\n");
    return j->r->xml.err;
}

/* --- DeviceInformation --- */

typedef void (*query_fn)(struct job *j, const char *name);

static void q_udid(struct job *j, const char *name)
{
    plistw_str(&j->r->xml, name, j->d->udid);
}

static void q_provisioning_udid(struct job *j, const char *name)
{
    if (j->d->mac)
        plistw_str(&j->r->xml, name, j->d->provisioning_udid);
}

static void q_name(struct job *j, const char *name)
{
    plistw_str(&j->r->xml, name, j->d->name);
}

/* A text or a flag that the device does not say is left out. */
static void said_text(struct buf *b, const char *key, const char *v)
{
    if (v && *v)
        plistw_str(b, key, v);
}

static void said_flag(struct buf *b, const char *key, int v)
{
    if (v >= 0)
        plistw_bool(b, key, v != 0);
}

static void q_os(struct job *j, const char *name)
{
    said_text(&j->r->xml, name, j->says.os);
}

static void q_build(struct job *j, const char *name)
{
    said_text(&j->r->xml, name, j->says.build);
}

static void q_model_name(struct job *j, const char *name)
{
    plistw_str(&j->r->xml, name, j->d->model_name);
}

static void q_model(struct job *j, const char *name)
{
    plistw_str(&j->r->xml, name, j->d->model);
}

static void q_product(struct job *j, const char *name)
{
    plistw_str(&j->r->xml, name, j->d->product);
}

static void q_serial(struct job *j, const char *name)
{
    plistw_str(&j->r->xml, name, j->d->serial);
}

static void q_capacity(struct job *j, const char *name)
{
    plistw_real(&j->r->xml, name, strcmp(name, "DeviceCapacity") == 0 ? 256.0 : 181.25);
}

static void q_battery(struct job *j, const char *name)
{
    plistw_real(&j->r->xml, name, 0.87);
}

static void q_supervised(struct job *j, const char *name)
{
    said_flag(&j->r->xml, name, j->says.supervised);
}

static void q_lost(struct job *j, const char *name)
{
    if (!j->d->mac)
        said_flag(&j->r->xml, name, j->says.lost_mode);
}

static void q_sip(struct job *j, const char *name)
{
    if (j->d->mac)
        said_flag(&j->r->xml, name, j->says.sip);
}

static void q_silicon(struct job *j, const char *name)
{
    if (j->d->mac)
        plistw_bool(&j->r->xml, name, true);
}

static void q_wifi(struct job *j, const char *name)
{
    const char *u = j->d->provisioning_udid + 13; /* 12 digits of the serial's hash */
    char mac[18];
    snprintf(mac, sizeof(mac), "02:%.2s:%.2s:%.2s:%.2s:%.2s", u, u + 2, u + 4, u + 6, u + 8);
    plistw_str(&j->r->xml, name, mac);
}

static void q_sw_update(struct job *j, const char *name)
{
    plistw_str(&j->r->xml, name, j->d->sw_update_id);
}

/* Freshness is the nonce verbatim; without a nonce or a PKI the key is left out, as a device that
 * could not get an attestation does. */
static void q_attestation(struct job *j, const char *name)
{
    struct span nonce = {0};
    buf_auto leaf;
    buf_init(&leaf, 16384);
    if (!j->pki || plist_data(j->command, "DeviceAttestationNonce", j->a, &nonce) != TD_OK ||
        nonce.n == 0 || nonce.n > 32)
        return;
    struct pki_facts f = device_facts(j->d);
    if (pki_leaf(j->pki, &f, nonce, j->d->key, clock_now(&clock_system), &leaf, NULL) != TD_OK)
        return;
    plistw_key(&j->r->xml, name);
    plistw_raw(&j->r->xml, "<array>\n");
    plistw_v_data(&j->r->xml, buf_view(&leaf));
    plistw_v_data(&j->r->xml, pki_sub_der(j->pki));
    plistw_raw(&j->r->xml, "</array>\n");
}

static const struct {
    const char *name;
    query_fn fn;
} queries[] = {
    {"UDID", q_udid},
    {"ProvisioningUDID", q_provisioning_udid},
    {"DeviceName", q_name},
    {"OSVersion", q_os},
    {"BuildVersion", q_build},
    {"ModelName", q_model_name},
    {"Model", q_model},
    {"ProductName", q_product},
    {"SerialNumber", q_serial},
    {"DeviceCapacity", q_capacity},
    {"AvailableDeviceCapacity", q_capacity},
    {"BatteryLevel", q_battery},
    {"IsSupervised", q_supervised},
    {"IsAppleSilicon", q_silicon},
    {"IsMDMLostModeEnabled", q_lost},
    {"SystemIntegrityProtectionEnabled", q_sip},
    {"WiFiMAC", q_wifi},
    {"SoftwareUpdateDeviceID", q_sw_update},
    {"DevicePropertiesAttestation", q_attestation},
};

static void one_query(struct job *j, const char *name)
{
    for (size_t i = 0; i < TD_NITEMS(queries); i++) {
        if (strcmp(queries[i].name, name) == 0)
            queries[i].fn(j, name);
    }
}

static enum td_err device_information(struct job *j)
{
    const struct plist *list = plist_get(j->command, "Queries");
    if (!list || plist_type(list) != PLIST_T_ARRAY)
        return fail(j, ANSWERS_FORMAT_ERROR, 12011, "Queries is missing or no array");
    plistw_key(&j->r->xml, "QueryResponses");
    plistw_raw(&j->r->xml, "<dict>\n");
    for (size_t i = 0; i < plist_count(list); i++) {
        const char *name = NULL;
        if (plist_str_val(plist_at(list, i), j->a, &name) == TD_OK)
            one_query(j, name);
    }
    plistw_raw(&j->r->xml, "</dict>\n");
    return j->r->xml.err;
}

/* --- SecurityInfo --- */

static void secure_boot(struct buf *b, const struct posture *p)
{
    plistw_key(b, "SecureBoot");
    plistw_raw(b, "<dict>\n");
    said_text(b, "SecureBootLevel", posture_boot_said(p));
    plistw_str(b, "ExternalBootLevel", "not supported");
    if (p->secure_boot == 1 && p->kexts >= 0) { /* Apple: only with "medium", and texts */
        plistw_key(b, "ReducedSecurity");
        plistw_raw(b, "<dict>\n");
        plistw_str(b, "AllowsUserKextApproval", p->kexts ? "true" : "false");
        plistw_raw(b, "</dict>\n");
    }
    plistw_raw(b, "</dict>\n");
}

static void security_mac(struct buf *b, const struct posture *p)
{
    said_flag(b, "FDE_Enabled", p->filevault);
    said_flag(b, "FDE_HasPersonalRecoveryKey", p->recovery_key);
    plistw_bool(b, "FDE_HasInstitutionalRecoveryKey", false);
    said_flag(b, "SystemIntegrityProtectionEnabled", p->sip);
    said_flag(b, "AuthenticatedRootVolumeEnabled", p->sealed_volume);
    said_flag(b, "IsRecoveryLockEnabled", p->recovery_lock);
    said_flag(b, "RemoteDesktopEnabled", p->remote_desktop);
    plistw_key(b, "FirewallSettings");
    plistw_raw(b, "<dict>\n");
    said_flag(b, "FirewallEnabled", p->firewall);
    said_flag(b, "BlockAllIncoming", p->firewall_block_all);
    said_flag(b, "StealthMode", p->firewall_stealth);
    plistw_raw(b, "<key>Applications</key><array/>\n</dict>\n");
    secure_boot(b, p);
}

static void security_mobile(struct buf *b, const struct posture *p)
{
    plistw_int(b, "HardwareEncryptionCaps", 3);
    said_flag(b, "PasscodePresent", p->passcode);
    said_flag(b, "PasscodeCompliant", p->passcode_compliant);
    said_flag(b, "PasscodeCompliantWithProfiles", p->passcode_compliant);
}

static enum td_err security_info(struct job *j)
{
    struct buf *b = &j->r->xml;
    plistw_key(b, "SecurityInfo");
    plistw_raw(b, "<dict>\n");
    if (j->d->mac)
        security_mac(b, &j->says);
    else
        security_mobile(b, &j->says);
    plistw_key(b, "ManagementStatus");
    plistw_raw(b, "<dict>\n");
    if (j->d->mac)
        said_flag(b, "EnrolledViaDEP", j->says.dep);
    plistw_bool(b, "IsUserEnrollment", false);
    if (j->d->mac)
        said_flag(b, "UserApprovedEnrollment", j->says.user_approved);
    plistw_raw(b, "</dict>\n</dict>\n");
    return b->err;
}

/* --- profiles and certificates --- */

static void profile_item(struct job *j, const char *id, const char *uuid, const char *name,
                         const char *content)
{
    struct buf *b = &j->r->xml;
    plistw_raw(b, "<dict>\n");
    plistw_str(b, "PayloadIdentifier", id);
    plistw_str(b, "PayloadUUID", uuid);
    plistw_str(b, "PayloadDisplayName", name);
    plistw_int(b, "PayloadVersion", 1);
    plistw_bool(b, "PayloadRemovalDisallowed", false);
    plistw_bool(b, "HasRemovalPasscode", false);
    plistw_bool(b, "IsEncrypted", false);
    if (!j->d->mac)
        plistw_bool(b, "IsManaged", true);
    plistw_key(b, "PayloadContent");
    plistw_raw(b, content);
    plistw_raw(b, "</dict>\n");
}

static enum td_err profile_list(struct job *j)
{
    struct device *d = j->d;
    plistw_key(&j->r->xml, "ProfileList");
    plistw_raw(&j->r->xml, "<array>\n");
    profile_item(j, d->profile_identifier, d->profile_uuid, d->profile_name,
                 "<array><dict><key>PayloadType</key><string>com.apple.mdm</string>"
                 "<key>PayloadVersion</key><integer>1</integer></dict></array>\n");
    for (size_t i = 0; i < d->nprofiles; i++)
        profile_item(j, d->profiles[i].identifier, d->profiles[i].uuid, d->profiles[i].name,
                     "<array/>\n");
    plistw_raw(&j->r->xml, "</array>\n");
    return j->r->xml.err;
}

static void cert_item(struct buf *b, X509 *x, struct span der, bool identity)
{
    char cn[128] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof(cn));
    plistw_raw(b, "<dict>\n");
    plistw_str(b, "CommonName", cn);
    plistw_bool(b, "IsIdentity", identity);
    plistw_data(b, "Data", der);
    plistw_raw(b, "</dict>\n");
}

static enum td_err certificate_list(struct job *j)
{
    buf_auto der;
    buf_init(&der, 16384);
    TD_TRY(ossl_cert_der(j->d->cert, &der, j->ei));
    plistw_key(&j->r->xml, "CertificateList");
    plistw_raw(&j->r->xml, "<array>\n");
    cert_item(&j->r->xml, j->d->cert, buf_view(&der), true);
    const unsigned char *p = j->d->root_der.p;
    ossl_auto(X509) root = p ? d2i_X509(NULL, &p, (long)j->d->root_der.n) : NULL;
    if (root)
        cert_item(&j->r->xml, root, buf_view(&j->d->root_der), false);
    plistw_raw(&j->r->xml, "</array>\n");
    return j->r->xml.err;
}

static struct device_profile *installed(struct device *d, const char *id)
{
    for (size_t i = 0; i < d->nprofiles; i++) {
        if (strcmp(d->profiles[i].identifier, id) == 0)
            return &d->profiles[i];
    }
    return NULL;
}

/* Asks the CA of the ACME payload for an identity; false: the command failed, and says why. */
static bool obtain(struct job *j, const struct profile *p, struct acme_result *res,
                   enum td_err *ret_e)
{
    http_auto http;
    struct refusal why = {0};
    struct errinfo ei = {0};
    char text[320];
    http_init(&http, j->env->tls, NULL, j->env->timeout_ms);
    const struct acme_job job = {
        .http = &http, .pki = j->pki, .profile = p, .device = j->d, .key_size = j->env->key_size};
    enum td_err e = acme_run(&job, res, &why, &ei);
    if (e == TD_OK)
        return true;
    snprintf(text, sizeof(text), "The identity certificate could not be obtained: %.200s",
             err_msg(&ei, e));
    *ret_e = fail(j, ANSWERS_ERROR, 1007, text);
    return false;
}

/* MB-28: what a device refuses to have changed in the profile that enrolled it. */
static bool same_management(const struct device *d, const struct profile *p)
{
    return p->mdm.topic && strcmp(p->mdm.topic, d->topic) == 0 &&
           strcmp(p->mdm.server_url, d->server_url) == 0 &&
           strcmp(p->mdm.checkin_url, d->checkin_url) == 0 && p->acme.uuid &&
           strcmp(p->acme.uuid, p->mdm.identity_uuid) == 0;
}

static enum td_err install_identity(struct job *j, const struct profile *p, bool management)
{
    struct acme_result res = {0};
    enum td_err e = TD_OK;
    if (!obtain(j, p, &res, &e)) {
        acme_result_free(&res);
        return e;
    }
    if (j->env->lose) {
        j->r->died = true;
    } else if (management) {
        EVP_PKEY_free(j->d->key);
        X509_free(j->d->cert);
        j->d->key = res.key;
        j->d->cert = res.cert;
        res.key = NULL;
        res.cert = NULL;
        j->r->renewed = true;
    } else {
        e = device_identity_put(j->d, p->identifier, res.key, res.cert, j->ei);
    }
    acme_result_free(&res);
    return e;
}

static enum td_err install_slot(struct job *j, const struct profile *p)
{
    struct device_profile *slot = installed(j->d, p->identifier);
    if (!slot && j->d->nprofiles == DEVICE_PROFILES)
        return fail(j, ANSWERS_ERROR, 4001, "Profile Installation Failed: too many profiles");
    if (!slot)
        slot = &j->d->profiles[j->d->nprofiles++];
    snprintf(slot->identifier, sizeof(slot->identifier), "%s", p->identifier);
    snprintf(slot->uuid, sizeof(slot->uuid), "%s", p->uuid);
    snprintf(slot->name, sizeof(slot->name), "%s", p->display_name);
    return TD_OK;
}

static enum td_err install_profile(struct job *j)
{
    struct span raw = {0}, xml = {0};
    struct profile p;
    if (plist_data(j->command, "Payload", j->a, &raw) != TD_OK || raw.n == 0)
        return fail(j, ANSWERS_FORMAT_ERROR, 12011, "Payload is missing or no data");
    if (profile_content(raw, j->a, &xml, NULL) != TD_OK ||
        profile_parse_any(xml, j->a, &p, NULL) != TD_OK)
        return fail(j, ANSWERS_ERROR, 4001, "Profile Installation Failed: invalid profile");
    bool management = strcmp(p.identifier, j->d->profile_identifier) == 0;
    if (management && !same_management(j->d, &p))
        return fail(j, ANSWERS_ERROR, 4001,
                    "Profile Installation Failed: the new profile does not meet the criteria to "
                    "replace the MDM profile");
    j->r->changed = true;
    if (p.acme.uuid && j->env->tls)
        TD_TRY(install_identity(j, &p, management));
    if (management || j->r->died || j->r->status != ANSWERS_ACKNOWLEDGED)
        return TD_OK;
    return install_slot(j, &p);
}

static enum td_err remove_profile(struct job *j)
{
    const char *id = NULL;
    struct device *d = j->d;
    if (plist_str(j->command, "Identifier", j->a, &id) != TD_OK)
        return fail(j, ANSWERS_FORMAT_ERROR, 12011, "Identifier is missing or no string");
    if (strcmp(id, d->profile_identifier) == 0) {
        d->removed = true;
        j->r->changed = j->r->enrollment_removed = true;
        return TD_OK;
    }
    struct device_profile *p = installed(d, id);
    if (!p)
        return fail(j, ANSWERS_ERROR, 12075, "The profile is not installed");
    device_identity_drop(d, id);
    *p = d->profiles[--d->nprofiles];
    j->r->changed = true;
    return TD_OK;
}

static const struct {
    const char *type;
    enum td_err (*fn)(struct job *j);
} commands[] = {
    {"DeviceInformation", device_information},
    {"SecurityInfo", security_info},
    {"ProfileList", profile_list},
    {"CertificateList", certificate_list},
    {"InstallProfile", install_profile},
    {"RemoveProfile", remove_profile},
};

enum td_err answers_run(struct device *d, const struct answers_env *env,
                        const struct plist *command, struct arena *a, struct answers *ret,
                        struct errinfo *ei)
{
    const char *type = NULL;
    struct job j = {.d = d,
                    .says = device_says(d),
                    .pki = env->pki,
                    .env = env,
                    .command = command,
                    .a = a,
                    .r = ret,
                    .ei = ei};
    *ret = (struct answers){.status = ANSWERS_ACKNOWLEDGED};
    buf_init(&ret->xml, 1048576);
    if (plist_str(command, "RequestType", a, &type) != TD_OK)
        return fail(&j, ANSWERS_FORMAT_ERROR, 12011, "RequestType is missing");
    for (size_t i = 0; i < TD_NITEMS(commands); i++) {
        if (strcmp(commands[i].type, type) == 0)
            return commands[i].fn(&j);
    }
    return fail(&j, ANSWERS_ERROR, 12021, "The command is not supported by this device");
}
