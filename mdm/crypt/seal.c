#include "mdm/crypt/seal.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "mdm/base/b64.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/base/str.h"
#include "mdm/crypt/ossl_int.h"

#define VERSION 1
#define NONCE 12
#define TAG 16
#define HEAD (1 + SEAL_ID)
_Static_assert(SEAL_OVERHEAD == HEAD + NONCE + TAG, "as the header says");

struct seal_key {
    uint8_t id[SEAL_ID], key[SEAL_KEY];
};

struct seal {
    struct secret keys; /* of struct seal_key */
    size_t n;
};

static const struct seal_key *key_at(const struct seal *s, size_t i)
{
    return (const struct seal_key *)(const void *)s->keys.p + i;
}

struct span seal_key_id(const struct seal *s, size_t i)
{
    return i < s->n ? SPAN_ARR(key_at(s, i)->id) : (struct span){NULL, 0};
}

static const struct seal_key *key_by_id(const struct seal *s, struct span id)
{
    for (size_t i = 0; i < s->n; i++)
        if (span_eq(seal_key_id(s, i), id))
            return key_at(s, i);
    return NULL;
}

bool seal_has_key(const struct seal *s, struct span id)
{
    return key_by_id(s, id) != NULL;
}

static enum td_err add_key(struct seal *s, struct span line, size_t number, struct errinfo *ei)
{
    arena_auto a; /* it wipes */
    arena_init(&a, 256);
    struct span raw;
    uint8_t md[SHA256_SIZE];
    if (b64url_dec(&a, line, &raw) != TD_OK || raw.n != SEAL_KEY)
        return err_set(ei, TD_PARSE, "line %zu of the seal key file is no key", number);
    if (s->n == SEAL_KEYS_MAX)
        return err_set(ei, TD_LIMIT, "a seal key file has %d keys at most", SEAL_KEYS_MAX);
    digest_sha256(raw, md);
    if (seal_has_key(s, span_of(md, SEAL_ID)))
        return err_set(ei, TD_EXISTS, "line %zu of the seal key file is there twice", number);
    struct seal_key *k = (struct seal_key *)(void *)s->keys.p + s->n++;
    memcpy(k->id, md, SEAL_ID);
    memcpy(k->key, raw.p, SEAL_KEY);
    return TD_OK;
}

enum td_err seal_parse(struct span text, struct seal **ret, struct errinfo *ei)
{
    seal_auto *s = calloc(1, sizeof *s);
    if (!s || secret_new(&s->keys, SEAL_KEYS_MAX * sizeof(struct seal_key)) != TD_OK)
        return err_set(ei, TD_NOMEM, "seal keys");
    for (size_t number = 1; text.n; number++) {
        struct span line = str_trim(str_cut(&text, '\n'));
        if (line.n && line.p[0] != '#')
            TD_TRY(add_key(s, line, number, ei));
    }
    if (s->n == 0)
        return err_set(ei, TD_INVAL, "the seal key file has no key");
    *ret = s;
    s = NULL;
    return TD_OK;
}

enum td_err seal_load(const char *path, struct seal **ret, struct errinfo *ei)
{
    struct stat st;
    buf_auto text;
    TD_TRY(fs_read(path, SEAL_FILE_MAX, &text, ei));
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        return err_set(ei, TD_FORBIDDEN, "%.120s must be its owner's alone (chmod 600)", path);
    return seal_parse(buf_view(&text), ret, ei);
}

enum td_err seal_create(const char *path, struct rng *rng, struct errinfo *ei)
{
    char key[RNG_TOKEN_SIZE];
    buf_auto text;
    buf_init(&text, SEAL_FILE_MAX);
    rng_token(rng, key);
    buf_str(&text,
            "# Keys that seal secrets in the database, the newest first. Every node needs this\n"
            "# file, and every backup.\n");
    buf_str(&text, key);
    explicit_bzero(key, sizeof key);
    TD_TRY(buf_u8(&text, '\n'));
    return fs_write(path, buf_view(&text), 0600, false, ei);
}

void seal_free(struct seal *s)
{
    if (s)
        secret_free(&s->keys);
    free(s);
}

void seal_auto_free(struct seal **s)
{
    seal_free(*s);
}

bool seal_is_current(const struct seal *s, struct span sealed)
{
    return sealed.n >= HEAD && sealed.p[0] == VERSION &&
           span_eq(span_sub(sealed, 1, SEAL_ID), seal_key_id(s, 0));
}

#define BOUND_MAX (HEAD + SEAL_PURPOSE_MAX + 1 + SEAL_ROW_MAX)

/* What the tag covers besides the secret. A purpose has no NUL, so no two places read the same. */
static enum td_err bound_to(struct buf *ad, struct span head, const struct seal_place *at,
                            struct errinfo *ei)
{
    if (strlen(at->purpose) > SEAL_PURPOSE_MAX || at->row.n > SEAL_ROW_MAX)
        return err_set(ei, TD_LIMIT, "the place of a sealed secret has too long a name");
    buf_span(ad, head);
    buf_add(ad, at->purpose, strlen(at->purpose) + 1);
    buf_span(ad, at->row);
    return ad->err == TD_OK ? TD_OK : err_set(ei, ad->err, "a sealed secret");
}

static void free_cipher(EVP_CIPHER_CTX **c)
{
    EVP_CIPHER_CTX_free(*c);
}
#define cipher_auto __attribute__((cleanup(free_cipher))) EVP_CIPHER_CTX

/* A context that has taken key, nonce and associated data; NULL when the library fails. */
static EVP_CIPHER_CTX *begin(const struct seal_key *k, const uint8_t *nonce, struct span ad,
                             int seal)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n;
    if (c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, k->key, nonce, seal) == 1 &&
        EVP_CipherUpdate(c, NULL, &n, ad.p, (int)ad.n) == 1)
        return c;
    EVP_CIPHER_CTX_free(c);
    return NULL;
}

enum td_err seal_wrap(const struct seal *s, const struct seal_place *at, struct span secret,
                      struct rng *rng, struct arena *a, struct span *ret, struct errinfo *ei)
{
    buf_auto ad;
    buf_init(&ad, BOUND_MAX);
    int n = 0, more = 0;
    if (secret.n == 0)
        return err_set(ei, TD_INVAL, "there is nothing to seal");
    if (secret.n > SEAL_MAX)
        return err_set(ei, TD_LIMIT, "a sealed secret has %d bytes at most", SEAL_MAX);
    uint8_t *out = arena_alloc(a, SEAL_OVERHEAD + secret.n);
    if (!out)
        return err_set(ei, TD_NOMEM, "a sealed secret");
    uint8_t *nonce = out + HEAD, *text = nonce + NONCE, *tag = text + secret.n;
    out[0] = VERSION;
    memcpy(out + 1, key_at(s, 0)->id, SEAL_ID);
    rng_fill(rng, nonce, NONCE);
    TD_TRY(bound_to(&ad, span_of(out, HEAD), at, ei));
    cipher_auto *c = begin(key_at(s, 0), nonce, buf_view(&ad), 1);
    if (!c || EVP_CipherUpdate(c, text, &n, secret.p, (int)secret.n) != 1 ||
        EVP_CipherFinal_ex(c, text + n, &more) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, tag) != 1)
        return crypt_fail(ei, TD_CRYPTO, "sealing");
    *ret = span_of(out, SEAL_OVERHEAD + secret.n);
    return TD_OK;
}

static enum td_err broken(struct errinfo *ei, const struct seal_place *at, const char *reason,
                          const char *why)
{
    return err_reason(ei, TD_DB, reason, "a sealed secret (%.64s) %s", at->purpose, why);
}

/* `sealed` has the size of one. */
static enum td_err decrypt(const struct seal_key *k, const struct seal_place *at,
                           struct span sealed, struct secret *out, struct errinfo *ei)
{
    buf_auto ad;
    buf_init(&ad, BOUND_MAX);
    int n = 0, more = 0;
    uint8_t tag[TAG]; /* the library takes no const */
    const uint8_t *nonce = sealed.p + HEAD, *text = nonce + NONCE;
    TD_TRY(bound_to(&ad, span_of(sealed.p, HEAD), at, ei));
    memcpy(tag, text + out->n, TAG);
    cipher_auto *c = begin(k, nonce, buf_view(&ad), 0);
    if (!c || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) != 1 ||
        EVP_CipherUpdate(c, out->p, &n, text, (int)out->n) != 1)
        return crypt_fail(ei, TD_CRYPTO, "opening a sealed secret");
    if (EVP_CipherFinal_ex(c, out->p + n, &more) != 1)
        return broken(ei, at, "seal-broken", "was changed or belongs to another place");
    return TD_OK;
}

enum td_err seal_open(const struct seal *s, const struct seal_place *at, struct span sealed,
                      struct secret *ret, struct errinfo *ei)
{
    if (sealed.n <= SEAL_OVERHEAD || sealed.n > SEAL_OVERHEAD + SEAL_MAX || sealed.p[0] != VERSION)
        return broken(ei, at, "seal-malformed", "is malformed");
    struct span id = span_of(sealed.p + 1, SEAL_ID);
    const struct seal_key *k = key_by_id(s, id);
    if (!k) {
        char hex[2 * SEAL_ID + 1];
        hex_enc(id, hex);
        return err_reason(ei, TD_DB, "seal-key-unknown",
                          "a sealed secret (%.64s) needs key %s, which the seal key file lacks",
                          at->purpose, hex);
    }
    secret_auto out = {NULL, 0};
    if (secret_new(&out, sealed.n - SEAL_OVERHEAD) != TD_OK)
        return err_set(ei, TD_NOMEM, "a sealed secret");
    TD_TRY(decrypt(k, at, sealed, &out, ei));
    *ret = out;
    out = (struct secret){NULL, 0};
    return TD_OK;
}
