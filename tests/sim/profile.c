#include "tests/sim/profile.h"

enum { CONTENT_MAX = 8388608 };

static enum td_err cms_load(struct span der, CMS_ContentInfo **ret, struct errinfo *ei)
{
    const unsigned char *p = der.p;
    CMS_ContentInfo *c = d2i_CMS_ContentInfo(NULL, &p, (long)der.n);
    if (!c || OBJ_obj2nid(CMS_get0_type(c)) != NID_pkcs7_signed || p != der.p + der.n) {
        CMS_ContentInfo_free(c);
        ossl_fail(ei, "the profile is not CMS SignedData");
        return TD_PARSE;
    }
    *ret = c;
    return TD_OK;
}

static enum td_err bio_content(BIO *bio, struct arena *a, struct span *ret, struct errinfo *ei)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);
    if (n <= 0 || n > CONTENT_MAX)
        return err_set(ei, TD_PARSE, "the profile has no content");
    *ret = arena_span(a, span_of(p, (size_t)n));
    return ret->p ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

enum td_err profile_open_cms(struct span cms, X509_STORE *trust, struct arena *a, struct span *ret,
                             struct errinfo *ei)
{
    CMS_ContentInfo *raw = NULL;
    TD_TRY(cms_load(cms, &raw, ei));
    ossl_auto(CMS_ContentInfo) c = raw;
    ossl_auto(BIO) out = BIO_new(BIO_s_mem());
    if (!out || CMS_verify(c, NULL, trust, NULL, out, CMS_BINARY) != 1)
        return ossl_fail(ei, "the profile's signature");
    return bio_content(out, a, ret, ei);
}

enum td_err profile_content(struct span in, struct arena *a, struct span *ret, struct errinfo *ei)
{
    CMS_ContentInfo *raw = NULL;
    if (in.n && (in.p[0] == '<' || in.p[0] == 'b')) {
        *ret = in;
        return TD_OK;
    }
    TD_TRY(cms_load(in, &raw, ei));
    ossl_auto(CMS_ContentInfo) c = raw;
    ASN1_OCTET_STRING **os = CMS_get0_content(c);
    if (!os || !*os)
        return err_set(ei, TD_PARSE, "the profile has no content");
    *ret = arena_span(a, span_of(ASN1_STRING_get0_data(*os), (size_t)ASN1_STRING_length(*os)));
    return ret->p ? TD_OK : err_set(ei, TD_NOMEM, "no memory");
}

/* --- payloads --- */

static enum td_err need_str(const struct plist *d, const char *where, const char *key,
                            struct arena *a, const char **ret, struct errinfo *ei)
{
    if (plist_str(d, key, a, ret) != TD_OK || !**ret)
        return err_set(ei, TD_PARSE, "%s: %s is missing or no string", where, key);
    return TD_OK;
}

static enum td_err parse_root(const struct plist *d, struct arena *a, struct profile *p,
                              struct errinfo *ei)
{
    struct span der;
    if (plist_data(d, "PayloadContent", a, &der) != TD_OK)
        return err_set(ei, TD_PARSE, "com.apple.security.root: PayloadContent is no data");
    if (!p->root_der.n)
        p->root_der = der;
    return TD_OK;
}

static enum td_err parse_acme(const struct plist *d, struct arena *a, struct profile *p,
                              struct errinfo *ei)
{
    static const char where[] = "com.apple.security.acme";
    TD_TRY(need_str(d, where, "PayloadUUID", a, &p->acme.uuid, ei));
    TD_TRY(need_str(d, where, "DirectoryURL", a, &p->acme.directory, ei));
    TD_TRY(need_str(d, where, "ClientIdentifier", a, &p->acme.client_id, ei));
    TD_TRY(need_str(d, where, "KeyType", a, &p->acme.key_type, ei));
    if (strncmp(p->acme.directory, "https://", 8) != 0)
        return err_set(ei, TD_PARSE, "%s: DirectoryURL is not https", where);
    if (plist_int(d, "KeySize", &p->acme.key_size) != TD_OK)
        return err_set(ei, TD_PARSE, "%s: KeySize is missing", where);
    if (plist_bool(d, "HardwareBound", &p->acme.hardware_bound) != TD_OK)
        return err_set(ei, TD_PARSE, "%s: HardwareBound is missing", where);
    if (plist_bool(d, "Attest", &p->acme.attest) != TD_OK)
        p->acme.attest = false;
    if (plist_int(d, "UsageFlags", &p->acme.usage) != TD_OK)
        p->acme.usage = 0;
    p->acme.subject = plist_get(d, "Subject");
    p->acme.san = plist_get(d, "SubjectAltName");
    p->acme.eku = plist_get(d, "ExtendedKeyUsage");
    if (!p->acme.subject)
        return err_set(ei, TD_PARSE, "%s: Subject is missing", where);
    /* what a device refuses (com.apple.security.acme, notes on HardwareBound and Attest) */
    if (p->acme.attest && !p->acme.hardware_bound)
        return err_set(ei, TD_PARSE, "%s: Attest needs HardwareBound", where);
    if (p->acme.hardware_bound && (strcmp(p->acme.key_type, "ECSECPrimeRandom") != 0 ||
                                   (p->acme.key_size != 256 && p->acme.key_size != 384)))
        return err_set(ei, TD_PARSE, "%s: hardware keys are P-256 or P-384", where);
    return TD_OK;
}

static enum td_err parse_mdm(const struct plist *d, struct arena *a, struct profile *p,
                             struct errinfo *ei)
{
    static const char where[] = "com.apple.mdm";
    int64_t rights = 0;
    TD_TRY(need_str(d, where, "IdentityCertificateUUID", a, &p->mdm.identity_uuid, ei));
    TD_TRY(need_str(d, where, "Topic", a, &p->mdm.topic, ei));
    TD_TRY(need_str(d, where, "ServerURL", a, &p->mdm.server_url, ei));
    if (plist_str(d, "CheckInURL", a, &p->mdm.checkin_url) != TD_OK)
        p->mdm.checkin_url = p->mdm.server_url;
    if (plist_bool(d, "SignMessage", &p->mdm.sign_message) != TD_OK)
        p->mdm.sign_message = false;
    if (plist_bool(d, "CheckOutWhenRemoved", &p->mdm.checkout_when_removed) != TD_OK)
        p->mdm.checkout_when_removed = false;
    if (plist_int(d, "AccessRights", &rights) != TD_OK || rights <= 0 || rights > 8191)
        return err_set(ei, TD_PARSE, "%s: AccessRights is missing or out of range", where);
    if ((rights & 2 && !(rights & 1)) || (rights & 128 && !(rights & 64)))
        return err_set(ei, TD_PARSE, "%s: AccessRights: 2 needs 1, 128 needs 64", where);
    return TD_OK;
}

static const struct {
    const char *type;
    enum td_err (*fn)(const struct plist *d, struct arena *a, struct profile *p,
                      struct errinfo *ei);
} payloads[] = {
    {"com.apple.security.root", parse_root},
    {"com.apple.security.acme", parse_acme},
    {"com.apple.mdm", parse_mdm},
};

static enum td_err parse_payload(const struct plist *d, struct arena *a, struct profile *p,
                                 struct errinfo *ei)
{
    const char *type = NULL, *unused = NULL;
    int64_t version = 0;
    TD_TRY(need_str(d, "payload", "PayloadType", a, &type, ei));
    TD_TRY(need_str(d, type, "PayloadIdentifier", a, &unused, ei));
    TD_TRY(need_str(d, type, "PayloadUUID", a, &unused, ei));
    if (plist_int(d, "PayloadVersion", &version) != TD_OK || version != 1)
        return err_set(ei, TD_PARSE, "%s: PayloadVersion is not 1", type);
    for (size_t i = 0; i < TD_NITEMS(payloads); i++) {
        if (strcmp(payloads[i].type, type) == 0)
            return payloads[i].fn(d, a, p, ei);
    }
    return TD_OK;
}

enum td_err profile_parse_any(struct span xml, struct arena *a, struct profile *ret,
                              struct errinfo *ei)
{
    struct plist *root = NULL;
    struct profile p = {0};
    TD_TRY(plist_parse(xml, a, &root, ei));
    if (plist_str(root, "PayloadType", a, &p.type) != TD_OK)
        p.type = NULL;
    TD_TRY(need_str(root, "profile", "PayloadIdentifier", a, &p.identifier, ei));
    TD_TRY(need_str(root, "profile", "PayloadUUID", a, &p.uuid, ei));
    if (plist_str(root, "PayloadDisplayName", a, &p.display_name) != TD_OK)
        p.display_name = p.identifier;
    const struct plist *list = plist_get(root, "PayloadContent");
    for (size_t i = 0; i < plist_count(list); i++)
        TD_TRY(parse_payload(plist_at(list, i), a, &p, ei));
    *ret = p;
    return TD_OK;
}

enum td_err profile_parse(struct span xml, struct arena *a, struct profile *ret, struct errinfo *ei)
{
    struct profile p;
    TD_TRY(profile_parse_any(xml, a, &p, ei));
    if (!p.type || strcmp(p.type, "Configuration") != 0)
        return err_set(ei, TD_PARSE, "profile: PayloadType is '%.40s'", p.type ? p.type : "");
    if (!p.acme.uuid || !p.mdm.topic)
        return err_set(ei, TD_PARSE, "profile: no %s payload", p.acme.uuid ? "MDM" : "ACME");
    if (strcmp(p.acme.uuid, p.mdm.identity_uuid) != 0)
        return err_set(ei, TD_PARSE, "profile: the MDM identity is not the ACME payload");
    *ret = p;
    return TD_OK;
}
