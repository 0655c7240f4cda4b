#include "acme/signer/handlog.h"

#include "acme/signer/cadir.h"
#include "acme/signer/checkpoint.h"
#include "mdm/base/clock.h"
#include "mdm/base/hex.h"

#define LOCK_WAIT_MS 5000

enum td_err handlog_sign(const char *path, const struct key *key, const struct audit_log *log,
                         struct errinfo *ei)
{
    struct checkpoints marks;
    enum td_err e = checkpoints_open(path, cadir_name(CADIR_AUDIT_TLS), key, &marks, ei);
    if (e == TD_OK)
        e = checkpoints_sign(&marks, log, true, ei);
    checkpoints_close(&marks);
    return e;
}

enum td_err handlog_ca(const char *dir, const struct secret *pass, const char *what,
                       const struct cert *c, struct errinfo *ei)
{
    char path[CADIR_PATH_MAX], hex[2 * CERT_SKI_SIZE + 1];
    uint8_t id[CERT_SKI_SIZE] = {0};
    struct audit_log log;
    (void)cert_ski(c, id);
    hex_enc(SPAN_ARR(id), hex);
    struct audit_entry e = {
        .at = clock_now(&clock_system), .profile = what, .subject = hex, .serial = cert_serial(c)};
    if (e.serial.n > 20) /* DER's leading zero */
        e.serial = span_sub(e.serial, e.serial.n - 20, 20);
    cert_spki_sha256(c, e.spki_sha256);
    key_auto *key = NULL;
    TD_TRY(checkpoint_key(dir, pass, &key, ei));
    TD_TRY(cadir_path(dir, CADIR_AUDIT_TLS, path, ei));
    TD_TRY(audit_log_open(path, LOCK_WAIT_MS, &log, ei));
    enum td_err err = audit_log_add(&log, &e, ei);
    if (err == TD_OK)
        err = audit_log_flush(&log, ei);
    if (err == TD_OK)
        err = handlog_sign(path, key, &log, ei);
    audit_log_close(&log);
    return err;
}
