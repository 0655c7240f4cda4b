/* testudo-sim: simulated iPhones and Macs, with a fake of Apple's attestation PKI. */
#include "mdm/base/clock.h"
#include "mdm/wire/plist.h"
#include "tests/sim/bench.h"
#include "tests/sim/fault.h"
#include "tests/sim/fleet.h"
#include "tests/sim/pool.h"

static enum td_err pki_main(const struct opts *o, int *ret_code, struct errinfo *ei)
{
    *ret_code = 0;
    if (!o->dir)
        return err_set(ei, TD_INVAL, "--dir DIR is missing");
    TD_TRY(pki_init(o->dir, clock_now(&clock_system), ei));
    printf("%s/root.pem is the attestation root for the server's configuration\n", o->dir);
    return TD_OK;
}

static const struct command {
    const char *name, *second; /* two words, or NULL */
    unsigned opts;
    enum td_err (*fn)(const struct opts *o, int *ret_code, struct errinfo *ei);
    const char *doc;
} commands[] = {
    {"pki", "init", OPTS_PKI, pki_main, "make the fake attestation PKI"},
    {"enroll", NULL, OPTS_ENROLL, fleet_enroll_main, "enrol one device from its enrolment URL"},
    {"fleet", NULL, OPTS_FLEET, fleet_main, "invite and enrol many devices"},
    {"connect", NULL, OPTS_CONNECT, fleet_connect_main,
     "enrolled devices connect and execute commands"},
    {"run", NULL, OPTS_RUN, fleet_run_main, "enrol, then connect every few seconds"},
    {"fault", NULL, OPTS_FAULT, fault_main, "misbehave once and judge the server's answer"},
    {"acme-bench", NULL, OPTS_ACME, bench_acme_main, "measure attested ACME orders"},
    {"ocsp-bench", NULL, OPTS_OCSP, bench_ocsp_main, "measure OCSP requests"},
    {"http-bench", NULL, OPTS_HTTP, bench_http_main, "measure plain GET requests"},
};

static void usage(FILE *f)
{
    fprintf(f, "usage: testudo-sim COMMAND [options]\n");
    for (size_t i = 0; i < TD_NITEMS(commands); i++)
        fprintf(f, "  %-10s %s%s%s\n", commands[i].name, commands[i].second ? "(init) " : "",
                commands[i].doc, "");
    fprintf(f, "'testudo-sim COMMAND --help' lists the options of a command.\n");
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < TD_NITEMS(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static bool asks_help(int argc, char *const *argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

static int run(const struct command *c, int argc, char *const *argv)
{
    struct opts o;
    struct errinfo ei = {0};
    int code = 0;
    if (c->second && (argc == 0 || strcmp(argv[0], c->second) != 0)) {
        fprintf(stderr, "testudo-sim: '%s' is followed by '%s'\n", c->name, c->second);
        return 2;
    }
    enum td_err e =
        opts_parse(c->opts, argc - (c->second ? 1 : 0), argv + (c->second ? 1 : 0), &o, &ei);
    if (e == TD_OK) {
        pool_signals();
        e = c->fn(&o, &code, &ei);
    }
    if (e == TD_OK)
        return code;
    fflush(stdout);
    fprintf(stderr, "testudo-sim %s: %s\n", c->name, err_msg(&ei, e));
    return e == TD_INVAL ? 2 : 3;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("testudo-sim " TD_VERSION "\n");
        return 0;
    }
    const struct command *c = find(argv[1]);
    if (!c) {
        fprintf(stderr, "testudo-sim: unknown command '%s'\n", argv[1]);
        usage(stderr);
        return 2;
    }
    if (asks_help(argc - 2, argv + 2)) {
        printf("testudo-sim %s: %s\n", c->name, c->doc);
        opts_help(c->opts, stdout);
        return 0;
    }
    plist_init();
    return run(c, argc - 2, argv + 2);
}
