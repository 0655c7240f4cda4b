#include "acme/signer/cadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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
    [CADIR_PENDING_KEY] = "pending.key",
    [CADIR_AUDIT_KEY] = "audit.key",
    [CADIR_AUDIT_PUB] = "audit.pub",
    [CADIR_AUDIT_MARKS] = "audit.checkpoints",
    [CADIR_AUDIT_TLS_MARKS] = "audit-tls.checkpoints",
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
    {.section = "pkcs11",
     .key = "module",
     .type = CONF_STR,
     .offset = AT(module),
     .dflt = "",
     .doc = "Shared object of a hardware module; empty: keys are in files"},
    {.section = "pkcs11",
     .key = "pin_file",
     .type = CONF_STR,
     .offset = AT(pin_file),
     .dflt = "",
     .doc = "File with the PIN of the token, on one line"},
    {.section = "pkcs11",
     .key = "issuing_key",
     .type = CONF_STR,
     .offset = AT(issuing_key),
     .dflt = "",
     .doc = "Where new issuing keys are made: pkcs11:token=...;object=...; empty: in files"},
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

static enum td_err found_key(void *ctx, const char *name, struct errinfo *ei)
{
    (void)name, (void)ei;
    *(bool *)ctx = true;
    return TD_OK;
}

/* Some issuing key: the loader says whether it is the right one. */
static bool issuing_key_there(const char *dir)
{
    bool any = there(dir, CADIR_ISSUING_KEY);
    return cadir_each(dir, ".key", found_key, &any, NULL) == TD_OK && any;
}

enum cadir_state cadir_look(const char *dir)
{
    bool have[CADIR_FILE_MAX];
    bool any = false;
    for (unsigned f = 0; f < CADIR_FILE_MAX; f++) {
        have[f] = there(dir, (enum cadir_file)f);
        any = any || (have[f] && (f <= CADIR_INI || f == CADIR_PENDING_KEY));
    }
    bool key = issuing_key_there(dir);
    if (!any && !key)
        return CADIR_EMPTY;
    if (!have[CADIR_ROOT_CERT] || !have[CADIR_INI])
        return CADIR_PART;
    if (have[CADIR_ISSUING_CERT])
        return key ? CADIR_COMPLETE : CADIR_PART;
    if (key)
        return CADIR_PART;
    if (have[CADIR_ROOT_KEY] && !have[CADIR_PENDING_KEY])
        return CADIR_ROOT;
    return CADIR_WAITING; /* the key may be made as late as the request, in a module */
}

enum td_err cadir_lock(const char *dir, int *ret_fd, struct errinfo *ei)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(ei, TD_IO, errno, "cannot open %.120s", dir);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return err_set(ei, TD_BUSY, "another program changes %.120s", dir);
    }
    *ret_fd = fd;
    return TD_OK;
}

int64_t cadir_longest(const struct cadir_conf *c, const struct profile_set *profiles)
{
    const int64_t all[] = {c->management_life, c->access_life, c->tls_life};
    int64_t longest = 0;
    for (size_t i = 0; i < TD_NITEMS(all); i++)
        if (all[i] > longest)
            longest = all[i];
    for (size_t i = 0; i < profiles->n; i++)
        if (profiles->all[i].life > longest)
            longest = profiles->all[i].life;
    return longest;
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

static enum td_err check_module(const struct cadir_conf *c, struct errinfo *ei)
{
    if (*c->issuing_key && strncmp(c->issuing_key, "pkcs11:", 7) != 0)
        return err_set(ei, TD_INVAL, "ca.ini: issuing_key is not a PKCS#11 URI");
    if (*c->issuing_key && !*c->module)
        return err_set(ei, TD_INVAL, "ca.ini: issuing_key needs the module");
    if (*c->module && *c->module != '/')
        return err_set(ei, TD_INVAL, "ca.ini: module is not an absolute path");
    return TD_OK;
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
    return check_module(c, ei);
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
        strcmp(back.aia_url, c->aia_url) != 0 || strcmp(back.crl_url, c->crl_url) != 0 ||
        strcmp(back.module, c->module) != 0 || strcmp(back.pin_file, c->pin_file) != 0 ||
        strcmp(back.issuing_key, c->issuing_key) != 0)
        return err_set(ei, TD_INVAL, "the name, a path or an URL cannot stand in an INI file");
    return TD_OK;
}

enum td_err cadir_pass(const char *pass_file, struct secret *ret, struct errinfo *ei)
{
    *ret = (struct secret){NULL, 0};
    return pass_file ? secret_read_file(pass_file, PASS_MAX, ret, ei) : TD_OK;
}
