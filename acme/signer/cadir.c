#include "acme/signer/cadir.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "mdm/base/conf.h"
#include "mdm/base/fs.h"

#define INI_FILE_MAX 16384
#define PASS_MAX 1024
#define URL_MAX 160 /* fits a line of an INI file */
#define ORG_MAX 52  /* with " Issuing CA" within the 64 of a common name, RFC 5280 appendix A.1 */
#define DAY INT64_C(86400)

static const char *const names[CADIR_FILE_MAX] = {
    [CADIR_ROOT_KEY] = "root.key",
    [CADIR_ROOT_CERT] = "root.crt",
    [CADIR_ISSUING_KEY] = "issuing.key",
    [CADIR_ISSUING_CERT] = "issuing.crt",
    [CADIR_INI] = "ca.ini",
    [CADIR_AUDIT] = "audit.log",
    [CADIR_ROOT_CRL] = "root.crl",
    [CADIR_AUDIT_TLS] = "audit-tls.log",
};

#define AT(member) offsetof(struct cadir_conf, member)

static const struct conf_key ini_keys[] = {
    {.section = "ca",
     .key = "org",
     .type = CONF_STR,
     .offset = AT(org),
     .dflt = "Testudo",
     .doc = "Organisation in every certificate"},
    {.section = "ca",
     .key = "ocsp_url",
     .type = CONF_STR,
     .offset = AT(ocsp_url),
     .dflt = "",
     .doc = "Where clients ask for the status of a certificate, http; empty: not named"},
    {.section = "ca",
     .key = "aia_url",
     .type = CONF_STR,
     .offset = AT(aia_url),
     .dflt = "",
     .doc = "Where the issuing CA's certificate can be had, http; empty: not named"},
    {.section = "ca",
     .key = "crl_url",
     .type = CONF_STR,
     .offset = AT(crl_url),
     .dflt = "",
     .doc = "Where CRLs are fetched, http; a certificate names URL/ISSUER/SHARD.crl; empty: none"},
    {.section = "ca",
     .key = "crl_shards",
     .type = CONF_INT,
     .offset = AT(crl_shards),
     .dflt = "16",
     .min = 1,
     .max = SIGNER_MSG_SHARDS_MAX,
     .doc = "Parts of a CRL; certificates name theirs, so never less than there were"},
    {.section = "lifetime",
     .key = "management",
     .type = CONF_DURATION,
     .offset = AT(management_life),
     .dflt = "365d",
     .min = DAY,
     .max = 825 * DAY,
     .doc = "Certificates with which devices talk to the server"},
    {.section = "lifetime",
     .key = "access",
     .type = CONF_DURATION,
     .offset = AT(access_life),
     .dflt = "90d",
     .min = DAY,
     .max = 398 * DAY,
     .doc = "Certificates that open Wi-Fi, VPN and services"},
    {.section = "lifetime",
     .key = "tls",
     .type = CONF_DURATION,
     .offset = AT(tls_life),
     .dflt = "397d",
     .min = DAY,
     .max = 397 * DAY,
     .doc = "The server's own TLS certificate"},
    {.section = "lifetime",
     .key = "responder",
     .type = CONF_DURATION,
     .offset = AT(responder_life),
     .dflt = "14d",
     .min = 14 * DAY,
     .max = 30 * DAY,
     .doc = "The OCSP responder's certificate; renewed at half of it"},
};

static const struct conf_table ini_table = {ini_keys, TD_NITEMS(ini_keys)};

const char *cadir_name(enum cadir_file f)
{
    return names[f];
}

enum td_err cadir_path(const char *dir, enum cadir_file f, char out[static CADIR_PATH_MAX],
                       struct errinfo *ei)
{
    int n = snprintf(out, CADIR_PATH_MAX, "%s/%s", dir, names[f]);
    if (n < 0 || n >= CADIR_PATH_MAX)
        return err_set(ei, TD_LIMIT, "the path of the CA directory is too long");
    return TD_OK;
}

static bool there(const char *dir, enum cadir_file f)
{
    char path[CADIR_PATH_MAX];
    struct stat st;
    return cadir_path(dir, f, path, NULL) == TD_OK && (lstat(path, &st) == 0 || errno != ENOENT);
}

enum cadir_state cadir_look(const char *dir)
{
    unsigned found = 0;
    for (unsigned f = CADIR_ROOT_KEY; f <= CADIR_INI; f++)
        if (there(dir, (enum cadir_file)f))
            found |= 1U << f;
    unsigned needed = 1U << CADIR_ROOT_CERT | 1U << CADIR_ISSUING_KEY | 1U << CADIR_ISSUING_CERT |
                      1U << CADIR_INI;
    if (found == 0)
        return CADIR_EMPTY;
    return (found & needed) == needed ? CADIR_COMPLETE : CADIR_PART;
}

enum td_err cadir_list(const char *dir, bool want, struct buf *b)
{
    const char *sep = "";
    for (unsigned f = CADIR_ROOT_KEY; f <= CADIR_INI; f++) {
        if (there(dir, (enum cadir_file)f) != want)
            continue;
        buf_str(b, sep);
        buf_str(b, names[f]);
        sep = ", ";
    }
    return b->err;
}

/* Text that goes into certificates and through the INI file and back. */
static bool plain(const char *s, size_t max)
{
    if (strlen(s) > max)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f || *s == '"' || *s == '\\' || *s == ';')
            return false;
    return true;
}

static bool url(const char *s)
{
    if (!*s)
        return true;
    for (const char *p = s; *p; p++)
        if (*p <= ' ' || *p > '~')
            return false;
    bool scheme = strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0;
    return scheme && plain(s, URL_MAX);
}

static enum td_err check(const struct cadir_conf *c, struct errinfo *ei)
{
    if (!*c->org || *c->org == ' ' || !plain(c->org, ORG_MAX))
        return err_set(ei, TD_INVAL,
                       "ca.ini: org must have 1 to %d bytes, no control character, \", \\ or ;",
                       ORG_MAX);
    if (!url(c->ocsp_url))
        return err_set(ei, TD_INVAL, "ca.ini: ocsp_url is not an http URL");
    if (!url(c->aia_url))
        return err_set(ei, TD_INVAL, "ca.ini: aia_url is not an http URL");
    if (!url(c->crl_url))
        return err_set(ei, TD_INVAL, "ca.ini: crl_url is not an http URL");
    return TD_OK;
}

enum td_err cadir_conf_parse(struct span text, struct arena *a, struct cadir_conf *ret,
                             struct errinfo *ei)
{
    struct cadir_conf c = {0};
    TD_TRY(conf_parse(&ini_table, text, a, &c, ei));
    TD_TRY(check(&c, ei));
    *ret = c;
    return TD_OK;
}

enum td_err cadir_conf_text(const struct cadir_conf *c, struct buf *b, struct errinfo *ei)
{
    TD_TRY(check(c, ei));
    TD_TRY(conf_show(&ini_table, c, true, b));
    /* what was written must read back as it was meant */
    arena_auto a;
    arena_init(&a, INI_FILE_MAX);
    struct cadir_conf back;
    TD_TRY(cadir_conf_parse(buf_view(b), &a, &back, ei));
    if (strcmp(back.org, c->org) != 0 || strcmp(back.ocsp_url, c->ocsp_url) != 0 ||
        strcmp(back.aia_url, c->aia_url) != 0 || strcmp(back.crl_url, c->crl_url) != 0)
        return err_set(ei, TD_INVAL, "the name or an URL cannot stand in an INI file");
    return TD_OK;
}

enum td_err cadir_pass(const char *pass_file, struct secret *ret, struct errinfo *ei)
{
    *ret = (struct secret){NULL, 0};
    return pass_file ? secret_read_file(pass_file, PASS_MAX, ret, ei) : TD_OK;
}
