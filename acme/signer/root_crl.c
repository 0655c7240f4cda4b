#include "acme/signer/root_crl.h"

#include "acme/signer/cadir.h"
#include "mdm/base/clock.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/str.h"

#define CRL_MAX 16384
#define PEM_MAX 16384
#define REVOKED_MAX 32
#define CA_COMPROMISE 2

static enum td_err parse_revoked(const char *text, int64_t now, struct crl_entry *out,
                                 size_t *ret_n, struct errinfo *ei)
{
    struct span rest = span_str(text);
    size_t n = 0;
    while (rest.p && rest.n) {
        uint8_t serial[CRL_SERIAL_MAX];
        struct span hex = str_trim(str_cut(&rest, ','));
        if (n == REVOKED_MAX || hex.n == 0 || hex.n > 2 * sizeof serial ||
            hex_dec(hex, serial, hex.n / 2) != TD_OK ||
            !crl_entry_set(&out[n++], span_of(serial, hex.n / 2), now, CA_COMPROMISE))
            return err_set(ei, TD_INVAL, "not a list of up to %d serial numbers in hexadecimal",
                           REVOKED_MAX);
    }
    crl_sort(out, n);
    *ret_n = n;
    return TD_OK;
}

enum td_err root_crl_write(const char *dir, const struct cert *root, const struct key *key,
                           const char *revoked, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    struct crl_entry entries[REVOKED_MAX];
    int64_t now = clock_now(&clock_system);
    /* nothing remembers the number before: seconds go up, and nobody makes two in one */
    struct crl_spec spec = {.number = (uint64_t)now,
                            .this_update = now,
                            .next_update = cert_not_after(root),
                            .entries = entries};
    arena_auto a;
    arena_init(&a, CRL_MAX);
    buf_auto tbs, der;
    buf_init(&tbs, CRL_MAX);
    buf_init(&der, CRL_MAX);
    struct span sig;
    TD_TRY(parse_revoked(revoked, now, entries, &spec.n, ei));
    TD_TRY(crl_tbs(&spec, root, &tbs, ei));
    TD_TRY(crl_sign(buf_view(&tbs), key, &a, &sig, ei));
    TD_TRY(crl_finish(buf_view(&tbs), sig, root, &der, ei));
    TD_TRY(cadir_path(dir, CADIR_ROOT_CRL, path, ei));
    return fs_write(path, buf_view(&der), 0644, true, ei);
}

static enum td_err read_text(const char *dir, enum cadir_file f, struct buf *ret,
                             struct errinfo *ei)
{
    char path[CADIR_PATH_MAX];
    TD_TRY(cadir_path(dir, f, path, ei));
    return fs_read(path, PEM_MAX, ret, ei);
}

enum td_err root_crl_make(const char *dir, const char *pass_file, const char *revoked,
                          struct errinfo *ei)
{
    secret_auto pass = {NULL, 0};
    cert_auto *root = NULL;
    key_auto *key = NULL;
    buf_auto crt, pem;
    buf_init(&crt, PEM_MAX);
    buf_init(&pem, PEM_MAX);
    TD_TRY(read_text(dir, CADIR_ROOT_CERT, &crt, ei));
    TD_TRY(cert_from_pem(buf_view(&crt), &root, ei));
    TD_TRY(read_text(dir, CADIR_ROOT_KEY, &pem, ei));
    TD_TRY(cadir_pass(pass_file, &pass, ei));
    TD_TRY(key_from_pem(buf_view(&pem), pass.p ? &pass : NULL, &key, ei));
    if (!key_equal(cert_key(root), key))
        return err_set(ei, TD_CRYPTO, "root.key is not the key of root.crt");
    return root_crl_write(dir, root, key, revoked, ei);
}
