#include "web/server/cert_words.h"

#include <stdio.h>

#include "acme/ca/ca.h"
#include "mdm/base/hex.h"
#include "mdm/base/log.h"
#include "mdm/crypt/digest.h"
#include "mdm/inventory/devices.h"
#include "web/api/api_certificates.h"
#include "web/server/server.h"

#define SERIAL_MAX 20
#define PAGE 500
#define ARENA_MAX ((size_t)16 * 1024 * 1024)
#define TEXT_MAX ((size_t)4 * 1024 * 1024)
#define EXIT_USAGE 2

struct args {
    const char *verb, *serial, *device, *status, *reason;
    bool json;
};

static bool take(const char *arg, const char *name, const char **ret)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0)
        return false;
    *ret = arg + n;
    return true;
}

/* Whether the argument is of these words; *a takes it in. */
static bool own(const char *arg, struct args *a)
{
    if (take(arg, "--device=", &a->device) || take(arg, "--status=", &a->status) ||
        take(arg, "--reason=", &a->reason))
        return true;
    if (strcmp(arg, "--json") == 0) {
        a->json = true;
        return true;
    }
    if (strncmp(arg, "--", 2) == 0)
        return false;
    if (!a->verb)
        a->verb = arg;
    else if (!a->serial)
        a->serial = arg;
    else
        return false;
    return true;
}

int cert_words_first(int argc, char **argv)
{
    struct args a = {0};
    int n = 0;
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        if (!own(arg, &a))
            continue;
        memmove(argv + n + 1, argv + n, (size_t)(i - n) * sizeof *argv);
        argv[n++] = arg;
    }
    return n;
}

static int usage(void)
{
    fputs("testudo: cert list [--device=SERIAL] [--status=good|revoked|held]\n"
          "         cert show|hold|release SERIAL\n"
          "         cert revoke SERIAL [--reason=keyCompromise|affiliationChanged|superseded|\n"
          "                             cessationOfOperation|privilegeWithdrawn|unspecified]\n"
          "         [--json] [--config=FILE]; SERIAL is the certificate's, in hexadecimal\n",
          stderr);
    return EXIT_USAGE;
}

/* --- output ---------------------------------------------------------------------------------- */

static void print_row(const struct ca_record *r)
{
    char serial[2 * SERIAL_MAX + 1], until[CLOCK_TEXT_SIZE];
    hex_enc(span_sub(r->serial, 0, SERIAL_MAX), serial);
    clock_text(r->not_after, until);
    const char *reason = r->revoked ? ca_reason_name(r->reason) : NULL;
    printf("%-40s  %-16s  %-12s  %-7s  %s  %s\n", serial, r->device_serial, r->profile,
           ca_state_name(r->state), until, reason ? reason : "");
}

static enum td_err print_json(const struct ca_record *r, bool pem, const char *before,
                              struct errinfo *ei)
{
    struct json_w w;
    buf_auto b;
    buf_init(&b, TEXT_MAX);
    json_w_init(&w, &b);
    TD_TRY(api_certificate_write(&w, r, pem, ei));
    printf("%s%s", before, buf_cstr(&b));
    return b.err;
}

static enum td_err print_pem(const struct ca_record *r, struct errinfo *ei)
{
    cert_auto *cert = NULL;
    buf_auto b;
    buf_init(&b, TEXT_MAX);
    TD_TRY(cert_parse(r->der, &cert, ei));
    TD_TRY(cert_to_pem(cert, &b));
    fputs(buf_cstr(&b), stdout);
    return TD_OK;
}

/* --- list ------------------------------------------------------------------------------------ */

struct list_job {
    struct ca_filter filter;
    struct arena a;
    struct ca_record *list;
    size_t n;
};

static enum td_err list_tx(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct list_job *j = ctx;
    return ca_records_list(tx, &j->filter, &j->a, &j->list, &j->n, ei);
}

static enum td_err list_page(struct list_job *j, const struct args *a, bool first,
                             struct errinfo *ei)
{
    for (size_t i = 0; i < j->n; i++) {
        if (a->json)
            TD_TRY(print_json(&j->list[i], false, first && i == 0 ? "" : ",\n", ei));
        else
            print_row(&j->list[i]);
    }
    return TD_OK;
}

/* Page by page: a snapshot each, however many there are. */
static enum td_err list_all(struct store *s, const struct args *a, struct errinfo *ei)
{
    uint8_t after[SERIAL_MAX];
    enum ca_state state;
    struct list_job j = {.filter = {.device_serial = a->device, .state = -1, .max = PAGE}};
    if (a->status && !ca_state_parse(span_str(a->status), &state))
        return err_set(ei, TD_INVAL, "--status is good, revoked or held");
    if (a->device && !inv_serial_valid(span_str(a->device)))
        return err_set(ei, TD_INVAL, "--device is not a serial number");
    if (a->status)
        j.filter.state = (int)state;
    if (a->json)
        fputs("{\"certificates\":[", stdout);
    enum td_err e = TD_OK;
    for (bool first = true; e == TD_OK; first = false) {
        arena_init(&j.a, ARENA_MAX);
        e = store_read(s, list_tx, &j, ei);
        if (e == TD_OK)
            e = list_page(&j, a, first, ei);
        bool more = e == TD_OK && j.n == PAGE && j.list[j.n - 1].serial.n <= sizeof after;
        if (more) {
            struct span last = j.list[j.n - 1].serial;
            memcpy(after, last.p, last.n);
            j.filter.after = span_of(after, last.n);
        }
        arena_free(&j.a);
        if (!more)
            break;
    }
    if (a->json)
        puts("]}");
    return e;
}

/* --- one ------------------------------------------------------------------------------------- */

static const struct verb {
    const char *name, *actor;
    bool act;
    enum ca_act what;
} verbs[] = {
    {"show", "", false, CA_ACT_RELEASE},
    {"revoke", "testudo cert revoke", true, CA_ACT_REVOKE},
    {"hold", "testudo cert hold", true, CA_ACT_HOLD},
    {"release", "testudo cert release", true, CA_ACT_RELEASE},
};

static enum td_err one(struct store *s, const struct args *a, const struct verb *v,
                       struct errinfo *ei)
{
    uint8_t serial[SERIAL_MAX];
    char txn[RNG_ID_SIZE];
    struct span hex = span_str(a->serial);
    arena_auto mem;
    arena_init(&mem, ARENA_MAX);
    if (hex.n == 0 || hex.n > 2 * sizeof serial || hex_dec(hex, serial, hex.n / 2) != TD_OK)
        return err_set(ei, TD_INVAL, "not a certificate's serial number in hexadecimal");
    rng_id(&rng_system, txn);
    struct ca_record rec = {0};
    struct ca_one j = {.r = &rec,
                       .serial = span_of(serial, hex.n / 2),
                       .act = v->act,
                       .change = {.act = v->what,
                                  .if_match = CA_IF_ANY,
                                  .now = clock_now(&clock_system),
                                  .actor = v->actor,
                                  .txn = txn},
                       .a = &mem};
    if (v->what == CA_ACT_REVOKE)
        TD_TRY(
            ca_reason_parse(span_str(a->reason ? a->reason : "unspecified"), &j.change.reason, ei));
    TD_TRY((v->act ? store_write : store_read)(s, ca_one_job, &j, ei));
    if (a->json) {
        TD_TRY(print_json(&rec, !v->act, "", ei));
        puts("");
        return TD_OK;
    }
    print_row(&rec);
    return v->act ? TD_OK : print_pem(&rec, ei);
}

int cert_words(const struct settings *conf, int argc, char **argv)
{
    struct args a = {0};
    struct errinfo ei = {0};
    struct store *s = NULL;
    const struct verb *v = NULL;
    for (int i = 0; i < argc; i++)
        (void)own(argv[i], &a);
    bool list = a.verb && strcmp(a.verb, "list") == 0;
    for (size_t i = 0; a.verb && i < TD_NITEMS(verbs); i++)
        if (strcmp(a.verb, verbs[i].name) == 0)
            v = &verbs[i];
    if (list ? a.serial != NULL : !v || !a.serial)
        return usage();
    log_setup(LOG_WARN, LOG_FORMAT_LOGFMT, 2);
    enum td_err e = crypt_init(&ei);
    if (e == TD_OK)
        e = server_open_store(conf, STORE_SHARED, &s, &ei);
    if (e == TD_OK)
        e = list ? list_all(s, &a, &ei) : one(s, &a, v, &ei);
    store_close(s);
    if (e != TD_OK)
        fprintf(stderr, "testudo: %s\n", err_msg(&ei, e));
    return e == TD_OK ? 0 : 1;
}
