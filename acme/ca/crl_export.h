/* CRLs as a file, for programs that read one (OpenVPN, PostgreSQL, nginx with ssl_crl), and a
 * command that tells them. One thread that does only this: no request ever waits for it. */
#ifndef TD_ACME_CA_CRL_EXPORT_H
#define TD_ACME_CA_CRL_EXPORT_H

#include "acme/ca/ca.h"

#define CRL_HOOK_ARGS_MAX 32

struct crl_export_conf {
    struct ca *ca;
    const char
        *path; /* ".pem": the complete CRLs of all CAs of the chain, else the active CA's, DER */
    const char *hook;     /* absolute path and arguments, separated by spaces; "" for none */
    int64_t hook_timeout; /* seconds, then it is killed */
};

struct crl_export;

/* Whether the hook can be run as it is written: TD_INVAL when not. */
TD_NODISCARD enum td_err crl_export_check(const char *path, const char *hook, struct errinfo *ei);

/* Writes the file at once, then within a second of every change in the database, whichever node
 * made it; atomically (fs_write), and only when its bytes differ. The hook runs behind each write,
 * without a shell, with PATH and TESTUDO_CRL (the file) as its environment. Failures are logged and
 * tried again. */
TD_NODISCARD enum td_err crl_export_start(const struct crl_export_conf *conf,
                                          struct crl_export **ret, struct errinfo *ei);
void crl_export_stop(struct crl_export *x); /* NULL is fine */

#endif
