#include "acme/signer/pkcs11.h"

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOTS_MAX 64
#define KEYS_MAX 16
#define ATTR_MAX 256

static const uint8_t p256_oid[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t p384_oid[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};

/* A token that is logged in to, by its slot. */
struct session {
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE handle;
};

struct held_key {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE object;
};

struct pkcs11 {
    void *library;
    CK_FUNCTION_LIST *f;
    const struct secret *pin;
    struct session sessions[KEYS_MAX];
    size_t nsessions;
    struct held_key keys[KEYS_MAX];
    uint32_t nkeys;
};

static enum td_err failed(struct errinfo *ei, const char *what, CK_RV rv)
{
    return err_set(ei, TD_IO, "PKCS#11: %s failed (0x%lx)", what, rv);
}

static CK_FUNCTION_LIST *functions_of(void *library)
{
    union {
        void *in;
        CK_C_GetFunctionList out;
    } entry = {library ? dlsym(library, "C_GetFunctionList") : NULL};
    CK_FUNCTION_LIST *f = NULL;
    return entry.in && entry.out(&f) == CKR_OK ? f : NULL;
}

static enum td_err start(struct pkcs11 *p, const char *module, struct errinfo *ei)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    p->library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    p->f = functions_of(p->library);
    if (!p->f)
        return err_set(ei, TD_NOTFOUND, "PKCS#11: %.120s is no module that can be loaded", module);
    CK_RV rv = p->f->C_Initialize(&args);
    return rv == CKR_OK ? TD_OK : failed(ei, "C_Initialize", rv);
}

enum td_err pkcs11_open(const char *module, const struct secret *pin, struct pkcs11 **ret,
                        struct errinfo *ei)
{
    struct pkcs11 *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(ei, TD_NOMEM, "no memory");
    p->pin = pin;
    enum td_err e = start(p, module, ei);
    if (e != TD_OK) {
        if (p->library)
            dlclose(p->library);
        free(p);
        return e;
    }
    *ret = p;
    return TD_OK;
}

void pkcs11_close(struct pkcs11 *p)
{
    if (!p)
        return;
    p->f->C_Finalize(NULL);
    dlclose(p->library);
    free(p);
}

/* Token information is padded with spaces and has no end. */
static bool same_text(const char *want, const unsigned char *have, size_t n)
{
    if (!*want)
        return true;
    while (n > 0 && have[n - 1] == ' ')
        n--;
    return strlen(want) == n && memcmp(want, have, n) == 0;
}

static bool token_fits(const struct p11uri *u, const CK_TOKEN_INFO *t)
{
    return (t->flags & CKF_TOKEN_INITIALIZED) && same_text(u->token, t->label, sizeof t->label) &&
           same_text(u->serial, t->serialNumber, sizeof t->serialNumber) &&
           same_text(u->manufacturer, t->manufacturerID, sizeof t->manufacturerID) &&
           same_text(u->model, t->model, sizeof t->model);
}

static enum td_err find_token(struct pkcs11 *p, const struct p11uri *u, CK_SLOT_ID *ret,
                              CK_TOKEN_INFO *ret_info, struct errinfo *ei)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    size_t found = 0;
    CK_RV rv = p->f->C_GetSlotList(CK_TRUE, slots, &n);
    if (rv != CKR_OK)
        return failed(ei, "C_GetSlotList", rv);
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO t;
        if (p->f->C_GetTokenInfo(slots[i], &t) != CKR_OK || !token_fits(u, &t))
            continue;
        *ret = slots[i];
        *ret_info = t;
        found++;
    }
    if (found == 0)
        return err_set(ei, TD_NOTFOUND, "PKCS#11: no token \"%s\"", u->token);
    return found == 1 ? TD_OK
                      : err_set(ei, TD_CONFLICT, "PKCS#11: several tokens fit: name the serial");
}

static enum td_err login_failed(CK_RV rv, struct errinfo *ei)
{
    if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE)
        return err_set(ei, TD_CRYPTO, "PKCS#11: wrong PIN");
    if (rv == CKR_PIN_LOCKED)
        return err_set(ei, TD_CRYPTO, "PKCS#11: the PIN is locked");
    return failed(ei, "C_Login", rv);
}

/* A wrong PIN counts against the token, and the signer is started again and again: the last try is
 * never used up. */
static enum td_err login(struct pkcs11 *p, CK_SESSION_HANDLE s, const CK_TOKEN_INFO *t,
                         struct errinfo *ei)
{
    if (!(t->flags & CKF_LOGIN_REQUIRED))
        return TD_OK;
    if (t->flags & (CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED))
        return err_set(ei, TD_CRYPTO, "PKCS#11: the PIN has one try left or none: not tried");
    if (!p->pin->n)
        return err_set(ei, TD_CRYPTO, "PKCS#11: the token wants a PIN: set pin_file in ca.ini");
    CK_RV rv = p->f->C_Login(s, CKU_USER, p->pin->p, p->pin->n);
    return rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN ? TD_OK : login_failed(rv, ei);
}

static enum td_err open_session(struct pkcs11 *p, const struct p11uri *u, bool write,
                                CK_SESSION_HANDLE *ret, struct errinfo *ei)
{
    CK_SLOT_ID slot = 0;
    CK_TOKEN_INFO info = {0};
    TD_TRY(find_token(p, u, &slot, &info, ei));
    for (size_t i = 0; i < p->nsessions && !write; i++) {
        if (p->sessions[i].slot != slot)
            continue;
        *ret = p->sessions[i].handle;
        return TD_OK;
    }
    CK_SESSION_HANDLE s = 0;
    CK_FLAGS flags = CKF_SERIAL_SESSION | (write ? CKF_RW_SESSION : 0);
    CK_RV rv = p->f->C_OpenSession(slot, flags, NULL, NULL, &s);
    if (rv != CKR_OK)
        return failed(ei, "C_OpenSession", rv);
    enum td_err e = login(p, s, &info, ei);
    if (e != TD_OK || (!write && p->nsessions == KEYS_MAX)) {
        p->f->C_CloseSession(s);
        return e != TD_OK ? e : err_set(ei, TD_LIMIT, "PKCS#11: too many tokens");
    }
    if (!write)
        p->sessions[p->nsessions++] = (struct session){slot, s};
    *ret = s;
    return TD_OK;
}

/* The one object of that class, label and id. */
static enum td_err find_object(struct pkcs11 *p, CK_SESSION_HANDLE s, CK_OBJECT_CLASS class,
                               const struct p11uri *u, CK_OBJECT_HANDLE *ret, struct errinfo *ei)
{
    struct p11uri w = *u; /* attributes are not const */
    CK_ATTRIBUTE t[3] = {{CKA_CLASS, &class, sizeof class}};
    CK_ULONG n = 1, found = 0;
    CK_OBJECT_HANDLE got[2] = {0, 0};
    const char *what = class == CKO_PRIVATE_KEY ? "private" : "public";
    if (w.object[0])
        t[n++] = (CK_ATTRIBUTE){CKA_LABEL, w.object, strlen(w.object)};
    if (w.nid)
        t[n++] = (CK_ATTRIBUTE){CKA_ID, w.id, w.nid};
    CK_RV rv = p->f->C_FindObjectsInit(s, t, n);
    if (rv == CKR_OK) {
        rv = p->f->C_FindObjects(s, got, 2, &found);
        p->f->C_FindObjectsFinal(s);
    }
    if (rv != CKR_OK)
        return failed(ei, "C_FindObjects", rv);
    if (found != 1)
        return err_set(ei, found ? TD_CONFLICT : TD_NOTFOUND, "PKCS#11: %s %s key \"%s\"",
                       found ? "several fit: more than one" : "no", what, u->object);
    *ret = got[0];
    return TD_OK;
}

static enum td_err read_attr(struct pkcs11 *p, CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o,
                             CK_ATTRIBUTE_TYPE type, uint8_t out[static ATTR_MAX], struct span *ret,
                             struct errinfo *ei)
{
    CK_ATTRIBUTE a = {type, out, ATTR_MAX};
    CK_RV rv = p->f->C_GetAttributeValue(s, o, &a, 1);
    if (rv != CKR_OK || a.ulValueLen > ATTR_MAX)
        return failed(ei, "C_GetAttributeValue", rv);
    *ret = span_of(out, a.ulValueLen);
    return TD_OK;
}

/* X || Y of CKA_EC_POINT: an OCTET STRING around the uncompressed point, which some tokens leave
 * out. */
static bool coordinates(struct span v, size_t size, struct span *x, struct span *y)
{
    const uint8_t *p = v.p;
    size_t n = v.n, point = 2 * size + 1;
    if (!p || n < point)
        return false;
    if (n == point + 2 && p[0] == 0x04 && p[1] == point) {
        p += 2;
        n -= 2;
    }
    if (n != point || p[0] != 0x04)
        return false;
    *x = span_of(p + 1, size);
    *y = span_of(p + 1 + size, size);
    return true;
}

static enum td_err read_public(struct pkcs11 *p, CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o,
                               struct key **ret, struct errinfo *ei)
{
    uint8_t a[ATTR_MAX], b[ATTR_MAX];
    struct span curve = {NULL, 0}, point = {NULL, 0}, x, y;
    TD_TRY(read_attr(p, s, o, CKA_EC_PARAMS, a, &curve, ei));
    TD_TRY(read_attr(p, s, o, CKA_EC_POINT, b, &point, ei));
    bool p256 = span_eq(curve, SPAN_ARR(p256_oid));
    if (!p256 && !span_eq(curve, SPAN_ARR(p384_oid)))
        return err_set(ei, TD_UNSUPPORTED, "PKCS#11: the key is not on P-256 or P-384");
    if (!coordinates(point, p256 ? 32 : 48, &x, &y))
        return err_set(ei, TD_PARSE, "PKCS#11: the public key cannot be read");
    return key_from_ec(p256 ? KEY_P256 : KEY_P384, x, y, ret, ei);
}

enum td_err pkcs11_key(struct pkcs11 *p, const struct p11uri *u, uint32_t *ret_number,
                       struct key **ret_pub, struct errinfo *ei)
{
    CK_SESSION_HANDLE s = 0;
    CK_OBJECT_HANDLE private = 0, public = 0;
    if (!u->object[0] && !u->nid)
        return err_set(ei, TD_INVAL, "PKCS#11 URI: neither object nor id names a key");
    if (p->nkeys == KEYS_MAX)
        return err_set(ei, TD_LIMIT, "PKCS#11: too many keys");
    TD_TRY(open_session(p, u, false, &s, ei));
    TD_TRY(find_object(p, s, CKO_PRIVATE_KEY, u, &private, ei));
    TD_TRY(find_object(p, s, CKO_PUBLIC_KEY, u, &public, ei));
    TD_TRY(read_public(p, s, public, ret_pub, ei));
    p->keys[p->nkeys] = (struct held_key){s, private};
    *ret_number = p->nkeys++;
    return TD_OK;
}

enum td_err pkcs11_make(struct pkcs11 *p, const struct p11uri *u, struct errinfo *ei)
{
    struct p11uri w = *u; /* attributes are not const */
    uint8_t oid[sizeof p256_oid];
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_SESSION_HANDLE s = 0;
    CK_OBJECT_HANDLE made[2];
    memcpy(oid, p256_oid, sizeof oid);
    CK_MECHANISM m = {.mechanism = CKM_EC_KEY_PAIR_GEN};
    CK_ATTRIBUTE public[] = {{CKA_EC_PARAMS, oid, sizeof oid},
                             {CKA_TOKEN, &yes, sizeof yes},
                             {CKA_VERIFY, &yes, sizeof yes},
                             {CKA_LABEL, w.object, strlen(w.object)},
                             {CKA_ID, w.id, w.nid}};
    CK_ATTRIBUTE private[] = {{CKA_TOKEN, &yes, sizeof yes},
                              {CKA_PRIVATE, &yes, sizeof yes},
                              {CKA_SENSITIVE, &yes, sizeof yes},
                              {CKA_EXTRACTABLE, &no, sizeof no},
                              {CKA_SIGN, &yes, sizeof yes},
                              {CKA_LABEL, w.object, strlen(w.object)},
                              {CKA_ID, w.id, w.nid}};
    TD_TRY(open_session(p, u, true, &s, ei));
    CK_RV rv = p->f->C_GenerateKeyPair(s, &m, public, TD_NITEMS(public), private,
                                       TD_NITEMS(private), &made[0], &made[1]);
    p->f->C_CloseSession(s);
    return rv == CKR_OK ? TD_OK : failed(ei, "C_GenerateKeyPair", rv);
}

enum td_err pkcs11_sign(struct pkcs11 *p, uint32_t number, struct span md, uint8_t *rs, size_t cap,
                        size_t *ret_n, struct errinfo *ei)
{
    uint8_t in[DIGEST_SIZE_MAX];
    CK_MECHANISM m = {.mechanism = CKM_ECDSA};
    CK_ULONG n = cap;
    if (number >= p->nkeys || md.n == 0 || md.n > sizeof in)
        return err_set(ei, TD_INVAL, "PKCS#11: no such key or digest");
    const struct held_key *k = &p->keys[number];
    memcpy(in, md.p, md.n);
    CK_RV rv = p->f->C_SignInit(k->session, &m, k->object);
    if (rv == CKR_OK)
        rv = p->f->C_Sign(k->session, in, md.n, rs, &n);
    if (rv != CKR_OK)
        return failed(ei, "C_Sign", rv);
    *ret_n = n;
    return TD_OK;
}
