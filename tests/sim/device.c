#include "tests/sim/device.h"

#include "mdm/base/b64.h"
#include "mdm/base/fs.h"
#include "mdm/base/hex.h"
#include "mdm/wire/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".device"
enum { STATE_MAX = 262144, LIST_MAX = 1000000 };

static const struct kind {
    const char *word; /* in the inventory's model */
    const char *product, *model_name, *model, *os_version, *build, *sw_update_id;
    bool mac;
} kinds[] = {
    {"iphone", "iPhone15,2", "iPhone", "MQ0G3", "18.1", "22B83", "D73AP", false},
    {"ipad", "iPad14,3", "iPad", "MNXE3", "18.1", "22B83", "J617AP", false},
    {"mac", "Mac15,3", "MacBook Pro", "Mac15,3", "15.1", "24B83", "J514sAP", true},
};

static bool contains(const char *hay, const char *word)
{
    return hay && strcasestr(hay, word) != NULL;
}

static const struct kind *kind_of(const char *model, unsigned hash)
{
    for (size_t i = 0; i < TD_NITEMS(kinds); i++) {
        if (contains(model, kinds[i].word))
            return &kinds[i];
    }
    /* of every eight: five iPhones, one iPad, two Macs */
    return &kinds[hash % 8 < 5 ? 0 : hash % 8 < 6 ? 1 : 2];
}

static bool serial_fits(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > DEVICE_SERIAL_MAX || s[0] == '.')
        return false;
    for (; *s; s++) {
        if (*s <= ' ' || *s > '~' || strchr("/\\%\"'?#", *s))
            return false;
    }
    return true;
}

static void identity(struct device *d, const uint8_t h[static 32])
{
    char hex[65];
    hex_enc(span_of(h, 32), hex);
    for (char *p = hex; *p; p++)
        *p = (char)(*p >= 'a' ? *p - 32 : *p);
    snprintf(d->provisioning_udid, sizeof(d->provisioning_udid), "%s-%.16s",
             d->mac ? "00006030" : "00008120", hex);
    if (d->mac) /* a Mac's MDM UDID is its hardware UUID */
        snprintf(d->udid, sizeof(d->udid), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
                 hex + 16, hex + 20);
    else
        memcpy(d->udid, d->provisioning_udid, sizeof(d->udid));
}

enum td_err device_init(struct device *d, const char *serial, const char *model, struct errinfo *ei)
{
    uint8_t h[SHA256_DIGEST_LENGTH];
    *d = (struct device){0};
    buf_init(&d->root_der, 8192);
    if (!serial_fits(serial))
        return err_set(ei, TD_INVAL, "not a serial number: '%.70s'", serial);
    snprintf(d->serial, sizeof(d->serial), "%s", serial);
    SHA256((const unsigned char *)serial, strlen(serial), h);
    const struct kind *k = kind_of(model, h[31]);
    d->product = k->product;
    d->model_name = k->model_name;
    d->model = k->model;
    posture_init(&d->posture, k->os_version, k->build);
    d->sw_update_id = k->sw_update_id;
    d->mac = k->mac;
    snprintf(d->name, sizeof(d->name), "Simulated %s %s", k->model_name, d->serial);
    identity(d, h);
    return TD_OK;
}

void device_free(struct device *d)
{
    EVP_PKEY_free(d->key);
    X509_free(d->cert);
    free(d->server_url);
    free(d->checkin_url);
    free(d->topic);
    free(d->profile_identifier);
    free(d->profile_uuid);
    free(d->profile_name);
    buf_free(&d->root_der);
    for (size_t i = 0; i < d->nidentities; i++)
        free(d->identities[i].pem);
    *d = (struct device){0};
}

struct posture device_says(const struct device *d)
{
    struct posture p = d->posture;
    if (p.lie == 1) {
        const struct kind *k = kind_of(d->model_name, 0);
        posture_init(&p, k->os_version, k->build);
    }
    return p;
}

struct pki_facts device_facts(const struct device *d)
{
    const char *os = d->posture.os[0] ? d->posture.os : NULL;
    return (struct pki_facts){.serial = d->serial,
                              .udid = d->provisioning_udid,
                              .model = d->sw_update_id,
                              .os_version = os,
                              .sepos_version = os,
                              .llb_version = os,
                              .secure_boot = d->mac ? posture_boot_attested(&d->posture) : NULL,
                              .sip = !d->mac || d->posture.sip < 0 ? -1 : !d->posture.sip,
                              .kexts = d->mac ? d->posture.kexts : -1};
}

enum td_err device_set(char **field, const char *v)
{
    char *s = v ? strdup(v) : NULL;
    if (v && !s)
        return TD_NOMEM;
    free(*field);
    *field = s;
    return TD_OK;
}

/* --- the state file: one JSON object --- */

static const struct {
    const char *key;
    size_t offset;
} text_fields[] = {
    {"server_url", offsetof(struct device, server_url)},
    {"checkin_url", offsetof(struct device, checkin_url)},
    {"topic", offsetof(struct device, topic)},
    {"profile_identifier", offsetof(struct device, profile_identifier)},
    {"profile_uuid", offsetof(struct device, profile_uuid)},
    {"profile_name", offsetof(struct device, profile_name)},
};

static char **field_at(struct device *d, size_t i)
{
    return (char **)(void *)((char *)d + text_fields[i].offset);
}

static const char *field_get(const struct device *d, size_t i)
{
    const char *v = NULL;
    memcpy(&v, (const char *)d + text_fields[i].offset, sizeof(v));
    return v;
}

static struct device_identity *find_identity(struct device *d, const char *identifier)
{
    for (size_t i = 0; i < d->nidentities; i++)
        if (strcmp(d->identities[i].identifier, identifier) == 0)
            return &d->identities[i];
    return NULL;
}

void device_identity_drop(struct device *d, const char *identifier)
{
    struct device_identity *x = find_identity(d, identifier);
    if (!x)
        return;
    free(x->pem);
    *x = d->identities[--d->nidentities];
}

static enum td_err keep_identity(struct device *d, const char *identifier, const char *pem)
{
    device_identity_drop(d, identifier);
    if (d->nidentities == DEVICE_IDENTITIES)
        return TD_LIMIT;
    struct device_identity *x = &d->identities[d->nidentities];
    *x = (struct device_identity){.pem = strdup(pem)};
    if (!x->pem)
        return TD_NOMEM;
    snprintf(x->identifier, sizeof(x->identifier), "%s", identifier);
    d->nidentities++;
    return TD_OK;
}

enum td_err device_identity_put(struct device *d, const char *identifier, EVP_PKEY *key, X509 *cert,
                                struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, 32768);
    TD_TRY(ossl_key_pem(key, &b, ei));
    TD_TRY(ossl_cert_pem(cert, &b, ei));
    return keep_identity(d, identifier, buf_cstr(&b));
}

static void write_identities(struct json_w *w, const struct device *d)
{
    json_array_key(w, "identities");
    for (size_t i = 0; i < d->nidentities; i++) {
        json_open(w);
        json_kv_str(w, "identifier", d->identities[i].identifier);
        json_kv_str(w, "pem", d->identities[i].pem);
        json_close(w);
    }
    json_array_end(w);
}

static enum td_err read_identities(struct device *d, const struct json *o)
{
    struct json *list = json_member(o, "identities"); /* absent in older files */
    for (size_t i = 0; i < json_size(list); i++) {
        const char *id = NULL, *pem = NULL;
        TD_TRY(json_get_str(json_element(list, i), "identifier", &id));
        TD_TRY(json_get_str(json_element(list, i), "pem", &pem));
        TD_TRY(keep_identity(d, id, pem));
    }
    return TD_OK;
}

static void write_profiles(struct json_w *w, const struct device *d)
{
    json_array_key(w, "profiles");
    for (size_t i = 0; i < d->nprofiles; i++) {
        json_open(w);
        json_kv_str(w, "identifier", d->profiles[i].identifier);
        json_kv_str(w, "uuid", d->profiles[i].uuid);
        json_kv_str(w, "name", d->profiles[i].name);
        json_close(w);
    }
    json_array_end(w);
}

static enum td_err write_secrets(struct json_w *w, const struct device *d, struct errinfo *ei)
{
    buf_auto b;
    buf_init(&b, 16384);
    TD_TRY(ossl_key_pem(d->key, &b, ei));
    json_kv_str(w, "key", buf_cstr(&b));
    buf_reset(&b);
    TD_TRY(ossl_cert_pem(d->cert, &b, ei));
    json_kv_str(w, "certificate", buf_cstr(&b));
    buf_reset(&b);
    TD_TRY(b64url_enc(&b, buf_view(&d->root_der)));
    json_kv_str(w, "root", buf_cstr(&b));
    return TD_OK;
}

/* Not fs_write: thousands of simulated devices need no fsync each, which would slow the server on
 * the same disk that is being measured. */
static enum td_err put_file(const char *path, struct span s, struct errinfo *ei)
{
    char tmp[1100];
    snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(ei, TD_IO, errno, "writing %s", tmp);
    ssize_t n = write(fd, s.p, s.n);
    int err = n < 0 ? errno : 0;
    if (close(fd) != 0 && !err)
        err = errno;
    if (!err && (size_t)n == s.n && rename(tmp, path) == 0)
        return TD_OK;
    err = err ? err : errno;
    unlink(tmp);
    return err_sys(ei, TD_IO, err, "writing %s", path);
}

enum td_err device_save(const struct device *d, const char *dir, struct errinfo *ei)
{
    char path[1024];
    struct json_w w;
    buf_auto b;
    buf_init(&b, STATE_MAX);
    json_w_init(&w, &b);
    json_open(&w);
    json_kv_str(&w, "serial", d->serial);
    json_kv_str(&w, "udid", d->udid);
    json_kv_str(&w, "model", d->model_name);
    json_kv_bool(&w, "removed", d->removed);
    json_kv_bool(&w, "sign_message", d->sign_message);
    json_kv_bool(&w, "checkout_when_removed", d->checkout_when_removed);
    for (size_t i = 0; i < TD_NITEMS(text_fields); i++)
        json_kv_str(&w, text_fields[i].key, field_get(d, i));
    TD_TRY(write_secrets(&w, d, ei));
    buf_auto posture;
    buf_init(&posture, POSTURE_LIST_MAX);
    posture_text(&d->posture, &posture);
    json_kv_str(&w, "posture", buf_cstr(&posture));
    write_profiles(&w, d);
    write_identities(&w, d);
    json_close(&w);
    if (b.err != TD_OK)
        return err_set(ei, b.err, "state of %s: %s", d->serial, err_text(b.err));
    snprintf(path, sizeof(path), "%s/%s" SUFFIX, dir, d->serial);
    return put_file(path, buf_view(&b), ei);
}

static enum td_err read_profiles(struct device *d, const struct json *o)
{
    struct json *list = json_member(o, "profiles");
    for (size_t i = 0; i < json_size(list) && i < DEVICE_PROFILES; i++) {
        const char *id = NULL, *uuid = NULL, *name = NULL;
        struct json *e = json_element(list, i);
        TD_TRY(json_get_str(e, "identifier", &id));
        TD_TRY(json_get_str(e, "uuid", &uuid));
        TD_TRY(json_get_str(e, "name", &name));
        struct device_profile *p = &d->profiles[d->nprofiles++];
        snprintf(p->identifier, sizeof(p->identifier), "%s", id);
        snprintf(p->uuid, sizeof(p->uuid), "%s", uuid);
        snprintf(p->name, sizeof(p->name), "%s", name);
    }
    return TD_OK;
}

static enum td_err read_fields(struct device *d, const struct json *o, struct arena *a,
                               struct errinfo *ei)
{
    const char *key = NULL, *cert = NULL, *root = NULL, *posture = NULL;
    struct span der = {0};
    TD_TRY(json_get_bool(o, "removed", &d->removed));
    TD_TRY(json_get_bool(o, "sign_message", &d->sign_message));
    TD_TRY(json_get_bool(o, "checkout_when_removed", &d->checkout_when_removed));
    for (size_t i = 0; i < TD_NITEMS(text_fields); i++) {
        const char *v = NULL;
        TD_TRY(json_get_str(o, text_fields[i].key, &v));
        TD_TRY(device_set(field_at(d, i), v));
    }
    if (json_get_str(o, "posture", &posture) == TD_OK) /* absent in older files */
        TD_TRY(posture_set(&d->posture, posture, ei));
    TD_TRY(json_get_str(o, "key", &key));
    TD_TRY(json_get_str(o, "certificate", &cert));
    TD_TRY(json_get_str(o, "root", &root));
    TD_TRY(ossl_key_from_pem(span_str(key), &d->key, ei));
    TD_TRY(ossl_cert_from_pem(span_str(cert), &d->cert, ei));
    TD_TRY(b64url_dec(a, span_str(root), &der));
    TD_TRY(buf_span(&d->root_der, der));
    TD_TRY(read_profiles(d, o));
    return read_identities(d, o);
}

enum td_err device_load(struct device *d, const char *dir, const char *serial, struct errinfo *ei)
{
    char path[1024];
    const char *model = NULL;
    struct json *o = NULL;
    arena_auto a;
    arena_init(&a, 2097152);
    buf_auto b;
    buf_init(&b, STATE_MAX);
    TD_TRY(device_init(d, serial, NULL, ei));
    snprintf(path, sizeof(path), "%s/%s" SUFFIX, dir, serial);
    TD_TRY(fs_read(path, STATE_MAX, &b, ei));
    TD_TRY(json_parse(buf_view(&b), &a, &o, ei));
    enum td_err e = json_get_str(o, "model", &model);
    if (e == TD_OK)
        e = device_init(d, serial, model, ei);
    if (e == TD_OK)
        e = read_fields(d, o, &a, ei);
    if (e != TD_OK) {
        device_free(d);
        return err_set(ei, TD_PARSE, "%s is not a device's state", path);
    }
    return TD_OK;
}

bool device_known(const char *dir, const char *serial)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s" SUFFIX, dir, serial);
    return fs_exists(path);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int is_device(const struct dirent *e)
{
    size_t n = strlen(e->d_name), s = sizeof(SUFFIX) - 1;
    return e->d_name[0] != '.' && n > s && strcmp(e->d_name + n - s, SUFFIX) == 0;
}

enum td_err device_list(const char *dir, struct arena *a, char ***ret, size_t *ret_n,
                        struct errinfo *ei)
{
    struct dirent **found = NULL;
    int n = scandir(dir, &found, is_device, NULL);
    if (n < 0)
        return err_sys(ei, TD_IO, errno, "state directory %s", dir);
    char **list = arena_alloc(a, ((size_t)n + 1) * sizeof(*list));
    bool ok = list && n <= LIST_MAX;
    for (int i = 0; i < n; i++) {
        size_t len = strlen(found[i]->d_name) - (sizeof(SUFFIX) - 1);
        if (ok)
            ok = (list[i] = arena_dup(a, span_of(found[i]->d_name, len))) != NULL;
        free(found[i]);
    }
    free(found);
    if (!ok)
        return err_set(ei, TD_NOMEM, "no memory");
    qsort(list, (size_t)n, sizeof(*list), by_bytes);
    *ret = list;
    *ret_n = (size_t)n;
    return TD_OK;
}
