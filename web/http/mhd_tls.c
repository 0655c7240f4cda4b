#include "web/http/mhd_tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "mdm/base/fs.h"

#define PEM_MAX 262144

/* TLS 1.2 with forward secrecy and AEAD, TLS 1.3. The cheapest of the strong first: X25519 is what
 * clients send a key share of, so it also saves the round trip of a HelloRetryRequest. */
const char mhd_tls_priorities[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:"
    "-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:%SERVER_PRECEDENCE";

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

struct chain {
    gnutls_x509_crt_t *certs;
    unsigned n;
};

static void chain_free(struct chain *c)
{
    for (unsigned i = 0; i < c->n; i++)
        gnutls_x509_crt_deinit(c->certs[i]);
    gnutls_free(c->certs);
}

static void key_free(gnutls_x509_privkey_t *k)
{
    if (*k)
        gnutls_x509_privkey_deinit(*k);
}

/* GnuTLS 3.7 loses memory when it finds the mismatch itself. */
static bool same_key(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key)
{
    uint8_t a[64], b[64];
    size_t an = sizeof a, bn = sizeof b;
    return gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, a, &an) == 0 &&
           gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, b, &bn) == 0 &&
           span_eq(span_of(a, an), span_of(b, bn));
}

static enum td_err refused(struct errinfo *ei, const char *file, int rc)
{
    return err_set(ei, rc == GNUTLS_E_MEMORY_ERROR ? TD_NOMEM : TD_INVAL, "%s: %s", file,
                   gnutls_strerror(rc));
}

static enum td_err load(const char *cert_file, const char *key_file, struct mhd_tls_cred **ret,
                        struct errinfo *ei)
{
    buf_auto cert_text = {0};
    buf_auto key_text = {0};
    __attribute__((cleanup(chain_free))) struct chain chain = {0};
    __attribute__((cleanup(key_free))) gnutls_x509_privkey_t key = NULL;
    TD_TRY(fs_read(cert_file, PEM_MAX, &cert_text, ei));
    TD_TRY(fs_read(key_file, PEM_MAX, &key_text, ei));
    const gnutls_datum_t cert_pem = {cert_text.p, (unsigned)cert_text.n};
    const gnutls_datum_t key_pem = {key_text.p, (unsigned)key_text.n};
    int rc = gnutls_x509_crt_list_import2(&chain.certs, &chain.n, &cert_pem, GNUTLS_X509_FMT_PEM,
                                          GNUTLS_X509_CRT_LIST_SORT);
    if (rc < 0) {
        chain = (struct chain){0};
        return refused(ei, cert_file, rc);
    }
    rc = gnutls_x509_privkey_init(&key);
    if (rc == 0)
        rc = gnutls_x509_privkey_import2(key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc < 0)
        return refused(ei, key_file, rc);
    if (chain.n == 0 || !same_key(chain.certs[0], key))
        return err_set(ei, TD_INVAL, "%s is not the key of %s", key_file, cert_file);
    struct mhd_tls_cred *c = calloc(1, sizeof *c);
    if (!c || gnutls_certificate_allocate_credentials(&c->x509) != 0) {
        free(c);
        return err_set(ei, TD_NOMEM, "no memory for the TLS certificate");
    }
    atomic_store(&c->refs, 1);
    rc = gnutls_certificate_set_x509_key(c->x509, chain.certs, (int)chain.n, key);
    if (rc < 0) {
        mhd_tls_release(c);
        return refused(ei, cert_file, rc);
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
    gnutls_certificate_server_set_request(s,
                                          t->ask_client ? GNUTLS_CERT_REQUEST : GNUTLS_CERT_IGNORE);
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
