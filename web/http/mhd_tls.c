#include "web/http/mhd_tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "mdm/base/fs.h"

#define PEM_MAX 262144

/* TLS 1.2 with forward secrecy and AEAD, TLS 1.3. */
const char mhd_tls_priorities[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-AES-128-CBC:-AES-256-CBC:"
    "-AES-128-CCM:-AES-256-CCM:-CAMELLIA-128-CBC:-CAMELLIA-256-CBC:%SERVER_PRECEDENCE";

struct mhd_tls_cred {
    atomic_int refs;
    gnutls_certificate_credentials_t x509;
};

struct mhd_tls {
    pthread_mutex_t lock; /* cred */
    struct mhd_tls_cred *cred;
    gnutls_datum_t ticket_key;
    bool ask_client;
    char *cert_file, *key_file;
};

void mhd_tls_release(struct mhd_tls_cred *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    gnutls_certificate_free_credentials(c->x509);
    free(c);
}

static enum td_err load(const char *cert_file, const char *key_file, struct mhd_tls_cred **ret,
                        struct errinfo *ei)
{
    buf_auto cert = {0};
    buf_auto key = {0};
    TD_TRY(fs_read(cert_file, PEM_MAX, &cert, ei));
    TD_TRY(fs_read(key_file, PEM_MAX, &key, ei));
    struct mhd_tls_cred *c = calloc(1, sizeof *c);
    if (!c || gnutls_certificate_allocate_credentials(&c->x509) != 0) {
        free(c);
        return err_set(ei, TD_NOMEM, "no memory for the TLS certificate");
    }
    atomic_store(&c->refs, 1);
    const gnutls_datum_t cert_pem = {cert.p, (unsigned)cert.n}, key_pem = {key.p, (unsigned)key.n};
    int rc = gnutls_certificate_set_x509_key_mem2(c->x509, &cert_pem, &key_pem,
                                                  GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc < 0) {
        mhd_tls_release(c);
        return err_set(ei, TD_INVAL, "TLS certificate %s with key %s: %s", cert_file, key_file,
                       gnutls_strerror(rc));
    }
    *ret = c;
    return TD_OK;
}

enum td_err mhd_tls_open(const char *cert_file, const char *key_file, bool ask_client,
                         struct mhd_tls **ret, struct errinfo *ei)
{
    if (!cert_file || !key_file)
        return err_set(ei, TD_INVAL, "a TLS listener needs a certificate and a key");
    struct mhd_tls *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(ei, TD_NOMEM, "no memory for TLS");
    pthread_mutex_init(&t->lock, NULL);
    t->ask_client = ask_client;
    t->cert_file = strdup(cert_file);
    t->key_file = strdup(key_file);
    enum td_err e = TD_OK;
    if (!t->cert_file || !t->key_file || gnutls_session_ticket_key_generate(&t->ticket_key) != 0)
        e = err_set(ei, TD_NOMEM, "no memory for TLS");
    if (e == TD_OK)
        e = load(cert_file, key_file, &t->cred, ei);
    if (e != TD_OK) {
        mhd_tls_close(t);
        return e;
    }
    *ret = t;
    return TD_OK;
}

void mhd_tls_close(struct mhd_tls *t)
{
    if (!t)
        return;
    mhd_tls_release(t->cred);
    if (t->ticket_key.data) {
        gnutls_memset(t->ticket_key.data, 0, t->ticket_key.size);
        gnutls_free(t->ticket_key.data);
    }
    free(t->cert_file);
    free(t->key_file);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

enum td_err mhd_tls_reload(struct mhd_tls *t, struct errinfo *ei)
{
    struct mhd_tls_cred *fresh = NULL;
    TD_TRY(load(t->cert_file, t->key_file, &fresh, ei));
    pthread_mutex_lock(&t->lock);
    struct mhd_tls_cred *old = t->cred;
    t->cred = fresh;
    pthread_mutex_unlock(&t->lock);
    mhd_tls_release(old);
    return TD_OK;
}

struct mhd_tls_cred *mhd_tls_session(struct mhd_tls *t, void *session)
{
    pthread_mutex_lock(&t->lock);
    struct mhd_tls_cred *c = t->cred;
    atomic_fetch_add(&c->refs, 1);
    pthread_mutex_unlock(&t->lock);
    gnutls_session_t s = session;
    if (gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, c->x509) != 0) {
        mhd_tls_release(c);
        return NULL;
    }
    (void)gnutls_session_ticket_enable_server(s, &t->ticket_key);
    /* ask, never demand: a device without one is told so by the handler */
    gnutls_certificate_server_set_request(s, t->ask_client ? GNUTLS_CERT_REQUEST
                                                           : GNUTLS_CERT_IGNORE);
    return c;
}

size_t mhd_tls_chain(void *session, struct span *ret, size_t max)
{
    unsigned n = 0;
    const gnutls_datum_t *list = gnutls_certificate_get_peers(session, &n);
    size_t i = 0;
    for (; list && i < n && i < max; i++)
        ret[i] = span_of(list[i].data, list[i].size);
    return i;
}

void mhd_tls_send(void *session, struct span bytes)
{
    (void)gnutls_record_send(session, bytes.p, bytes.n);
}

static int no_cert(gnutls_session_t session, const gnutls_datum_t *ca_names, int n_ca_names,
                   const gnutls_pk_algorithm_t *algs, int n_algs, gnutls_pcert_st **ret_certs,
                   unsigned *ret_n, gnutls_privkey_t *ret_key)
{
    (void)session, (void)ca_names, (void)n_ca_names, (void)algs, (void)n_algs;
    (void)ret_certs, (void)ret_n, (void)ret_key;
    return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
}

mhd_tls_fn mhd_tls_cert_callback(void)
{
    return (mhd_tls_fn)no_cert;
}
