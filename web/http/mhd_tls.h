/* TLS of a listener by GnuTLS, the library libmicrohttpd links: certificate and key with reload,
 * session tickets (libmicrohttpd turns none on), the client's certificate as it was shown. */
#ifndef TD_WEB_HTTP_MHD_TLS_H
#define TD_WEB_HTTP_MHD_TLS_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

struct mhd_tls;      /* one listener's; any thread */
struct mhd_tls_cred; /* a certificate and key in use; reference-counted */

/* Reads the PEM files. TD_INVAL when they cannot be used (a key that is not the certificate's). */
TD_NODISCARD enum td_err mhd_tls_open(const char *cert_file, const char *key_file, bool ask_client,
                                      struct mhd_tls **ret, struct errinfo *ei);
/* Sessions keep what they began with. NULL is fine. */
void mhd_tls_close(struct mhd_tls *t);

/* Reads the files again for sessions to come; on error nothing changes. */
TD_NODISCARD enum td_err mhd_tls_reload(struct mhd_tls *t, struct errinfo *ei);

/* Prepares a session (a gnutls_session_t) before its handshake. The reference returned must outlive
 * the session; NULL: the session cannot be served. */
struct mhd_tls_cred *mhd_tls_session(struct mhd_tls *t, void *session);
void mhd_tls_release(struct mhd_tls_cred *c);

/* The chain the client showed and proved (DER, leaf first), borrowed from the session: how many
 * were written, at most `max`; 0 without one. */
size_t mhd_tls_chain(void *session, struct span *ret, size_t max);

/* Sends what can be sent at once. */
void mhd_tls_send(void *session, struct span bytes);

extern const char mhd_tls_priorities[];

/* libmicrohttpd wants a certificate callback at start (a gnutls_certificate_retrieve_function2);
 * this one is never reached, as each session has credentials of its own. */
typedef void (*mhd_tls_fn)(void);
mhd_tls_fn mhd_tls_cert_callback(void);

#endif
