#include "acme/signer/keyfile.h"

#include <errno.h>
#include <sys/stat.h>

#include "mdm/base/fs.h"
#include "mdm/base/str.h"

#define FILE_MAX_BYTES 8192

static enum keyfile_kind kind_of(struct span text)
{
    static const struct {
        struct span begin;
        enum keyfile_kind kind;
    } forms[] = {
        {SPAN_LIT("-----BEGIN ENCRYPTED PRIVATE KEY-----"), KEYFILE_ENCRYPTED},
        {SPAN_LIT("-----BEGIN PRIVATE KEY-----"), KEYFILE_PLAIN},
        {SPAN_LIT("-----BEGIN EC PRIVATE KEY-----"), KEYFILE_PLAIN},
        {SPAN_LIT("pkcs11:"), KEYFILE_MODULE},
    };
    for (size_t i = 0; i < TD_NITEMS(forms); i++)
        if (span_starts(text, forms[i].begin))
            return forms[i].kind;
    return KEYFILE_ABSENT;
}

const char *keyfile_word(enum keyfile_kind k)
{
    static const char *const words[] = {"absent", "plain", "encrypted", "pkcs11"};
    return words[k];
}

static void wipe(struct buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->n);
    buf_free(b);
}
#define wiped_auto __attribute__((cleanup(wipe))) struct buf

enum td_err keyfile_look(const char *path, enum keyfile_kind *ret, struct errinfo *ei)
{
    *ret = KEYFILE_ABSENT;
    wiped_auto text;
    enum td_err e = fs_read(path, FILE_MAX_BYTES, &text, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    *ret = kind_of(buf_view(&text));
    return *ret != KEYFILE_ABSENT ? TD_OK : err_set(ei, TD_PARSE, "%.150s holds no key", path);
}

static enum td_err read_module(const char *path, struct span text, const struct keyfile_access *by,
                               struct key **ret, struct errinfo *ei)
{
    char uri[HSM_URI_MAX];
    struct span line = str_trim(str_cut(&text, '\n'));
    if (line.n >= sizeof uri || text.n)
        return err_set(ei, TD_PARSE, "%.150s is not one PKCS#11 URI", path);
    if (!by->hsm)
        return err_set(ei, TD_STATE, "%.100s is in a PKCS#11 module and ca.ini names none", path);
    memcpy(uri, line.p, line.n);
    uri[line.n] = 0;
    return hsm_open_key(by->hsm, uri, ret, ei);
}

static enum td_err read_pem(const char *path, struct span text, enum keyfile_kind kind,
                            const struct keyfile_access *by, struct key **ret, struct errinfo *ei)
{
    struct errinfo why = {0};
    const struct secret *pass = by->pass && by->pass->p ? by->pass : NULL;
    if (kind == KEYFILE_ENCRYPTED && !pass)
        return err_set(ei, TD_CRYPTO, "%.120s is encrypted: name the passphrase file", path);
    enum td_err e = key_from_pem(text, pass, ret, &why);
    if (e == TD_OK)
        return TD_OK;
    if (kind == KEYFILE_ENCRYPTED)
        return err_set(ei, TD_CRYPTO, "wrong passphrase for %.120s", path);
    return err_set(ei, e, "%.100s: %.80s", path, err_msg(&why, e));
}

enum td_err keyfile_read(const char *path, const struct keyfile_access *by, struct key **ret,
                         struct errinfo *ei)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return err_sys(ei, errno == ENOENT ? TD_NOTFOUND : TD_IO, errno, "cannot read %.120s",
                       path);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return err_set(ei, TD_FORBIDDEN, "%.120s can be read by others: chmod 600 it", path);
    wiped_auto text;
    TD_TRY(fs_read(path, FILE_MAX_BYTES, &text, ei));
    enum keyfile_kind kind = kind_of(buf_view(&text));
    if (kind == KEYFILE_MODULE)
        return read_module(path, buf_view(&text), by, ret, ei);
    return read_pem(path, buf_view(&text), kind, by, ret, ei);
}

enum td_err keyfile_write(const char *path, const struct key *key, const struct secret *pass,
                          bool replace, struct errinfo *ei)
{
    wiped_auto pem;
    buf_init(&pem, FILE_MAX_BYTES);
    TD_TRY(key_to_pem(key, pass && pass->p ? pass : NULL, &pem, ei));
    return fs_write(path, buf_view(&pem), 0600, replace, ei);
}

enum td_err keyfile_write_uri(const char *path, const char *uri, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, HSM_URI_MAX + 1);
    if (buf_printf(&b, "%s\n", uri) != TD_OK)
        return err_set(ei, TD_LIMIT, "the PKCS#11 URI is too long");
    return fs_write(path, buf_view(&b), 0600, false, ei);
}
