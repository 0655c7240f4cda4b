#include "tests/sim/opts.h"

#include "mdm/base/num.h"
#include "tests/sim/posture.h"

#include <stddef.h>

enum kind { STR, INT, FLAG, LIST };

static const struct opt {
    const char *name;
    enum kind kind;
    unsigned cmds;
    size_t offset;
    uint64_t min, max;
    const char *arg, *doc;
} table[] = {
#define O(n) offsetof(struct opts, n)
    {"dir", STR, OPTS_PKI, O(dir), 0, 0, "DIR", "where the fake attestation PKI goes"},
    {"url", STR, OPTS_ENROLL | OPTS_FAULT | OPTS_OCSP | OPTS_HTTP, O(url), 0, 0, "URL",
     "enrolment URL, the OCSP responder's, or what to GET"},
    {"serial", STR, OPTS_ENROLL | OPTS_CONNECT | OPTS_FAULT, O(serial), 0, 0, "S",
     "serial number of the device"},
    {"model", STR, OPTS_ENROLL | OPTS_FAULT, O(model), 0, 0, "NAME", "iPhone, iPad or Mac"},
    {"posture", STR, OPTS_ENROLL | OPTS_FLEET | OPTS_CONNECT, O(posture), 0, 0, "LIST",
     "NAME=VALUE,...: what the devices report and have attested from now on"},
    {"state", STR, OPTS_ENROLL | OPTS_FLEET | OPTS_CONNECT | OPTS_RUN | OPTS_FAULT, O(state), 0, 0,
     "DIR", "where enrolled devices are kept, one file each"},
    {"cacert", STR,
     OPTS_ENROLL | OPTS_ACME | OPTS_FLEET | OPTS_CONNECT | OPTS_RUN | OPTS_FAULT | OPTS_HTTP,
     O(cacert), 0, 0, "FILE",
     "PEM root that the server and the enrolment profile are checked against"},
    {"pki", STR, OPTS_ENROLL | OPTS_ACME | OPTS_FLEET | OPTS_CONNECT | OPTS_RUN | OPTS_FAULT,
     O(pki), 0, 0, "DIR", "the fake attestation PKI made by 'pki init'"},
    {"api", STR, OPTS_ACME | OPTS_FLEET | OPTS_RUN | OPTS_FAULT, O(api), 0, 0, "URL",
     "base URL of the server's API"},
    {"token-file", STR, OPTS_ACME | OPTS_FLEET | OPTS_RUN | OPTS_FAULT, O(token_file), 0, 0, "FILE",
     "file with the API's bearer token"},
    {"inventory", STR, OPTS_FLEET | OPTS_RUN, O(inventory), 0, 0, "FILE",
     "CSV with a column 'serial' (and 'model'): the devices"},
    {"count", INT, OPTS_ACME | OPTS_FLEET | OPTS_RUN, O(count), 1, 1000000, "N",
     "instead: N made-up devices"},
    {"prefix", STR, OPTS_ACME | OPTS_FLEET | OPTS_RUN, O(prefix), 0, 0, "TEXT",
     "how their serial numbers begin (default SIM)"},
    {"put-inventory", FLAG, OPTS_FLEET | OPTS_RUN | OPTS_FAULT, O(put_inventory), 0, 0, NULL,
     "put each device into the inventory first"},
    {"resume", FLAG, OPTS_FLEET, O(resume), 0, 0, NULL, "leave out devices that are enrolled"},
    {"threads", INT, OPTS_ACME | OPTS_FLEET | OPTS_CONNECT | OPTS_RUN | OPTS_OCSP | OPTS_HTTP,
     O(threads), 1, 10000, "T", "how many at once (default 32)"},
    {"rate", INT, OPTS_FLEET | OPTS_RUN, O(rate), 1, 1000000, "R",
     "start at most R enrolments a second"},
    {"key-size", INT, OPTS_ENROLL | OPTS_ACME | OPTS_FLEET | OPTS_RUN | OPTS_FAULT, O(key_size),
     256, 384, "BITS", "256 or 384 instead of what the profile says"},
    {"signature", FLAG, OPTS_ENROLL | OPTS_FLEET | OPTS_CONNECT | OPTS_RUN | OPTS_FAULT,
     O(signature), 0, 0, NULL, "identify by Mdm-Signature alone, without a client certificate"},
    {"mtls", FLAG, OPTS_ENROLL | OPTS_FLEET | OPTS_CONNECT | OPTS_RUN | OPTS_FAULT, O(mtls), 0, 0,
     NULL, "identify by client certificate alone"},
    {"all", FLAG, OPTS_CONNECT, O(all), 0, 0, NULL, "all devices of the state directory"},
    {"loops", INT, OPTS_CONNECT, O(loops), 1, 1000000, "N", "sessions per device (default 1)"},
    {"notnow", LIST, OPTS_CONNECT, O(notnow), 0, 0, "WORD",
     "answer NotNow once to this RequestType, CommandUUID or 'all'; may be repeated"},
    {"lose-identity", FLAG, OPTS_CONNECT, O(lose_identity), 0, 0, NULL,
     "an identity that a profile brings is lost as it arrives, and nothing is reported"},
    {"bench-connect", INT, OPTS_CONNECT, O(bench), 1, 1000000000, "N",
     "measure N Idle reports on kept connections"},
    {"fresh", FLAG, OPTS_CONNECT, O(fresh), 0, 0, NULL,
     "measure with a new connection for each Idle report"},
    {"duration", INT, OPTS_CONNECT | OPTS_OCSP | OPTS_HTTP, O(duration), 1, 86400, "S",
     "measure for S seconds"},
    {"hold", FLAG, OPTS_ACME, O(hold), 0, 0, NULL,
     "when all is prepared, say 'ready' and wait for a line before measuring"},
    {"interval", INT, OPTS_RUN, O(interval), 1, 86400, "S",
     "seconds between two connects of a device (default 5)"},
    {"issuer", STR, OPTS_OCSP, O(issuer), 0, 0, "FILE", "PEM certificate of the issuing CA"},
    {"certs", STR, OPTS_OCSP, O(certs), 0, 0, "DIR", "state directory with the certificates"},
    {"nonce", FLAG, OPTS_OCSP, O(nonce), 0, 0, NULL, "a fresh nonce in every request"},
    {"kind", STR, OPTS_FAULT, O(kind), 0, 0, "K", "which fault"},
    {"list", FLAG, OPTS_FAULT, O(list), 0, 0, NULL,
     "name the faults and what a correct server does"},
    {"error-text", STR, OPTS_FAULT, O(error_text), 0, 0, "TEXT",
     "what the device says with an empty x5c"},
    {"timeout", INT,
     OPTS_ENROLL | OPTS_ACME | OPTS_FLEET | OPTS_CONNECT | OPTS_RUN | OPTS_FAULT | OPTS_OCSP |
         OPTS_HTTP,
     O(timeout), 1, 3600, "S", "seconds without an answer before giving up (default 15)"},
    {"retry", INT, OPTS_FLEET | OPTS_CONNECT | OPTS_RUN, O(retry), 1, 3600, "S",
     "for S seconds, try again what got no answer, or one of 502 to 504"},
    {"acks", STR, OPTS_FLEET | OPTS_RUN, O(acks), 0, 0, "FILE",
     "append a line for each thing that the server acknowledged"},
    {"json", FLAG, OPTS_ACME | OPTS_FLEET | OPTS_CONNECT | OPTS_OCSP | OPTS_FAULT | OPTS_HTTP,
     O(json), 0, 0, NULL, "print the summary as one JSON object"},
    {"quiet", FLAG, OPTS_FLEET | OPTS_RUN | OPTS_CONNECT, O(quiet), 0, 0, NULL, "no progress line"},
#undef O
};

static const struct opt *find(struct span name)
{
    for (size_t i = 0; i < TD_NITEMS(table); i++) {
        if (span_eq_str(name, table[i].name))
            return &table[i];
    }
    return NULL;
}

static enum td_err store(const struct opt *o, const char *value, struct opts *ret,
                         struct errinfo *ei)
{
    char *at = (char *)ret + o->offset;
    uint64_t v = 0;
    switch (o->kind) {
    case FLAG:
        *(bool *)(void *)at = true;
        return TD_OK;
    case STR:
        memcpy(at, &value, sizeof(value));
        return TD_OK;
    case LIST:
        if (ret->nnotnow == OPTS_NOTNOW_MAX)
            return err_set(ei, TD_INVAL, "too many --%s", o->name);
        ret->notnow[ret->nnotnow++] = value;
        return TD_OK;
    case INT:
        break;
    }
    if (num_u64(span_str(value), o->max, &v) != TD_OK || v < o->min)
        return err_set(ei, TD_INVAL, "--%s takes a number from %llu to %llu, not '%.40s'", o->name,
                       (unsigned long long)o->min, (unsigned long long)o->max, value);
    *(int64_t *)(void *)at = (int64_t)v;
    return TD_OK;
}

static enum td_err check(const struct opts *o, struct errinfo *ei)
{
    if (o->signature && o->mtls)
        return err_set(ei, TD_INVAL, "--signature and --mtls exclude each other");
    if (o->fresh && !o->bench && !o->duration)
        return err_set(ei, TD_INVAL, "--fresh goes with --bench-connect or --duration");
    if (o->posture && (o->bench || o->duration))
        return err_set(ei, TD_INVAL, "--posture does not go with measuring");
    struct posture p;
    posture_init(&p, "", "");
    if (o->posture)
        TD_TRY(posture_set(&p, o->posture, ei));
    if (o->key_size && o->key_size != 256 && o->key_size != 384)
        return err_set(ei, TD_INVAL, "--key-size is 256 or 384");
    return TD_OK;
}

enum td_err opts_parse(unsigned cmd, int argc, char *const *argv, struct opts *ret,
                       struct errinfo *ei)
{
    struct opts o = {.threads = 32, .loops = 1, .interval = 5, .timeout = 15, .prefix = "SIM"};
    for (int i = 0; i < argc; i++) {
        struct span arg = span_str(argv[i]);
        if (!span_starts(arg, SPAN_LIT("--")))
            return err_set(ei, TD_INVAL, "unexpected argument '%.60s'", argv[i]);
        const char *eq = strchr(argv[i], '=');
        struct span name = span_sub(arg, 2, eq ? (size_t)(eq - argv[i]) - 2 : arg.n);
        const struct opt *t = find(name);
        if (!t || !(t->cmds & cmd))
            return err_set(ei, TD_INVAL, "unknown option '%.60s'", argv[i]);
        const char *value = eq ? eq + 1 : NULL;
        if (t->kind == FLAG && value)
            return err_set(ei, TD_INVAL, "--%s takes no value", t->name);
        if (t->kind != FLAG && !value) {
            if (++i == argc)
                return err_set(ei, TD_INVAL, "--%s needs a value", t->name);
            value = argv[i];
        }
        TD_TRY(store(t, value, &o, ei));
    }
    TD_TRY(check(&o, ei));
    *ret = o;
    return TD_OK;
}

void opts_help(unsigned cmd, FILE *f)
{
    for (size_t i = 0; i < TD_NITEMS(table); i++) {
        char name[48];
        if (!(table[i].cmds & cmd))
            continue;
        snprintf(name, sizeof(name), "--%s%s%s", table[i].name, table[i].arg ? " " : "",
                 table[i].arg ? table[i].arg : "");
        fprintf(f, "  %-22s %s\n", name, table[i].doc);
    }
    const struct opt *posture = find(SPAN_LIT("posture"));
    if (posture && (posture->cmds & cmd))
        posture_help(f);
}
