/* What a connect, an enqueue and the lists cost on a database of a given size: the functions behind
 * the handlers, in this process, with the server's own statements and look-ups.
 *
 * testudo-scale URL makes the schema; URL DEVICES MS THREADS [PART] measures each part (idle,
 * session, lists) for so long and prints a line of JSON for each figure; URL DEVICES clean STEPS
 * takes steps of the cleaner of results.
 *
 * The rows are scale.py's: device i has serial SCALEiiiiiii and a certificate whose SHA-256 is that
 * of "cert-iiiiiii". */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "mdm/base/limits.h"
#include "mdm/base/log.h"
#include "mdm/base/num.h"
#include "mdm/base/uuid.h"
#include "mdm/crypt/digest.h"
#include "web/server/bind.h"
#include "web/server/cleaners.h"
#include "web/server/server.h"

enum { SAMPLES = 1 << 20, PAGE = 100, THREADS_MAX = 256, OP_MAX = 6 };

/* What a thread times, in the order of one session. */
static const char *const op_names[OP_MAX] = {"idle",        "enqueue",      "connect-command",
                                             "acknowledge", "list-devices", "list-commands"};
enum { IDLE, ENQUEUE, COMMAND, ACK, LIST_DEVICES, LIST_COMMANDS };

struct bench {
    struct store *store;
    struct core *core;
    uint64_t devices;
    unsigned threads;
    int64_t until; /* us, monotonic */
    const int *ops;
    size_t nops;
};

struct worker {
    struct bench *b;
    unsigned number;
    uint64_t state;
    pthread_t thread;
    uint32_t *us[OP_MAX]; /* samples */
    size_t n[OP_MAX];
    struct arena a;
    struct buf reply;
    uint64_t device;
    char serial[32], udid[40], uuid[UUID_SIZE];
};

static void die(const char *what, const struct errinfo *ei)
{
    fprintf(stderr, "testudo-scale: %s: %s\n", what, ei->msg);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

/* A device of this thread's own (no other one reports for it), any of them. */
static void pick(struct worker *w)
{
    w->state = w->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint64_t mine = w->b->devices / w->b->threads;
    w->device = (w->state >> 33) % mine * w->b->threads + w->number;
    snprintf(w->serial, sizeof w->serial, "SCALE%07" PRIu64, w->device);
    snprintf(w->udid, sizeof w->udid, "00008030-%016" PRIX64, w->device);
}

/* --- operations ------------------------------------------------------------------------------ */

static void report(struct worker *w, const char *status, bool reply)
{
    char name[32];
    struct errinfo ei = {0};
    struct core_ident id = {.how = "mtls", .peer = "192.0.2.1"};
    snprintf(name, sizeof name, "cert-%07" PRIu64, w->device);
    digest_sha256(span_str(name), id.cert_sha256);
    bool idle = strcmp(status, "Idle") == 0;
    const char *body =
        arena_printf(&w->a,
                     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><dict>"
                     "<key>UDID</key><string>%s</string><key>Status</key><string>%s</string>%s%s%s"
                     "<key>Words</key><string>%*s</string></dict></plist>",
                     w->udid, status, idle ? "" : "<key>CommandUUID</key><string>",
                     idle ? "" : w->uuid, idle ? "" : "</string>", idle ? 1 : 800, "x");
    if (!body || core_connect(w->b->core, &id, span_str(body), &w->a, &w->reply, &ei) != TD_OK)
        die(status, &ei);
    if ((w->reply.n != 0) != reply) {
        snprintf(ei.msg, sizeof ei.msg, "%s has %zu bytes of reply", w->serial, w->reply.n);
        die(status, &ei);
    }
}

static void enqueue(struct worker *w)
{
    struct errinfo ei = {0};
    struct plist *cmd = plist_new_dict(&w->a);
    if (!cmd || plist_set_str(cmd, "RequestType", "SecurityInfo") != TD_OK ||
        core_enqueue(w->b->core, w->serial, cmd, NULL, "scale", w->uuid, &ei) != TD_OK)
        die("enqueue", &ei);
}

static enum td_err devices_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct worker *w = ctx;
    struct core_enrollment *list;
    size_t n;
    return core_enrollment_list(tx, w->serial, PAGE, &w->a, &list, &n, ei);
}

static enum td_err commands_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct worker *w = ctx;
    struct core_command *list;
    size_t n;
    return core_command_list(tx, w->serial, INT64_MAX, PAGE, &w->a, &list, &n, ei);
}

static void listing(struct worker *w, store_fn fn)
{
    struct errinfo ei = {0};
    if (store_read(w->b->store, fn, w, &ei) != TD_OK)
        die("list", &ei);
}

static void run_op(struct worker *w, int op)
{
    switch (op) {
    case ENQUEUE:
        enqueue(w);
        break;
    case COMMAND:
        report(w, "Idle", true);
        break;
    case ACK:
        report(w, "Acknowledged", false);
        break;
    case LIST_DEVICES:
        listing(w, devices_job);
        break;
    case LIST_COMMANDS:
        listing(w, commands_job);
        break;
    default:
        report(w, "Idle", false);
        break;
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    while (now_us() < w->b->until) {
        pick(w);
        for (size_t i = 0; i < w->b->nops; i++) {
            int op = w->b->ops[i];
            int64_t from = now_us();
            run_op(w, op);
            if (w->n[op] < SAMPLES / w->b->threads)
                w->us[op][w->n[op]++] = (uint32_t)(now_us() - from);
            arena_free(&w->a);
        }
    }
    return NULL;
}

/* --- measuring ------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* What a phase took beside time, for each operation of it. */
struct price {
    double seconds, cpu_us, commits, retries;
};

static void print_op(struct worker *all, unsigned threads, int op, const struct price *p)
{
    size_t n = 0, at = 0;
    for (unsigned i = 0; i < threads; i++)
        n += all[i].n[op];
    uint32_t *us = calloc(n + 1, sizeof *us);
    if (!us)
        abort();
    for (unsigned i = 0; i < threads; i++) {
        memcpy(us + at, all[i].us[op], all[i].n[op] * sizeof *us);
        at += all[i].n[op];
    }
    qsort(us, n, sizeof *us, by_value);
    printf("{\"op\": \"%s\", \"threads\": %u, \"n\": %zu, \"per_second\": %.1f, \"p50_us\": %u, "
           "\"p99_us\": %u, \"cpu_us\": %.1f, \"commits\": %.3f, \"retries\": %.3f}\n",
           op_names[op], threads, n, (double)n / p->seconds, us[n / 2], us[n * 99 / 100], p->cpu_us,
           p->commits, p->retries);
    fflush(stdout);
    free(us);
}

static void measure(struct bench *b, unsigned threads, int64_t ms, const int *ops, size_t nops)
{
    static uint64_t seed = 1;
    struct worker *all = calloc(threads, sizeof *all);
    if (!all)
        abort();
    b->threads = threads;
    b->ops = ops;
    b->nops = nops;
    int64_t from = now_us(), cpu = cpu_us(), commits = metrics_get(METRIC_STORE_BATCHES),
            retries = metrics_get(METRIC_STORE_RETRIES);
    b->until = from + ms * 1000;
    for (unsigned i = 0; i < threads; i++) {
        all[i].b = b;
        all[i].number = i;
        all[i].state = seed++ * UINT64_C(0x9e3779b97f4a7c15);
        arena_init(&all[i].a, LIMIT_REQ_ARENA);
        buf_init(&all[i].reply, 1 << 20);
        for (size_t k = 0; k < nops; k++)
            all[i].us[ops[k]] = calloc(SAMPLES / threads, sizeof(uint32_t));
        if (pthread_create(&all[i].thread, NULL, work, &all[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(all[i].thread, NULL);
    double ops_done = 0;
    for (unsigned i = 0; i < threads; i++)
        ops_done += (double)(all[i].n[ops[0]] * nops);
    const struct price price = {(double)(now_us() - from) / 1e6,
                                (double)(cpu_us() - cpu) / ops_done,
                                (double)(metrics_get(METRIC_STORE_BATCHES) - commits) / ops_done,
                                (double)(metrics_get(METRIC_STORE_RETRIES) - retries) / ops_done};
    for (size_t k = 0; k < nops; k++)
        print_op(all, threads, ops[k], &price);
    for (unsigned i = 0; i < threads; i++) {
        for (size_t k = 0; k < nops; k++)
            free(all[i].us[ops[k]]);
        arena_free(&all[i].a);
        buf_free(&all[i].reply);
    }
    free(all);
}

/* One thread shows the latency, several how commits are shared. */
static void measure_parts(struct bench *b, unsigned threads, int64_t ms, const char *only)
{
    static const int idle[] = {IDLE}, session[] = {ENQUEUE, COMMAND, ACK},
                     lists[] = {LIST_DEVICES, LIST_COMMANDS};
    static const struct {
        const char *name;
        const int *ops;
        size_t n;
        bool parallel;
    } parts[] = {{"idle", idle, 1, false},
                 {"idle", idle, 1, true},
                 {"session", session, TD_NITEMS(session), false},
                 {"session", session, TD_NITEMS(session), true},
                 {"lists", lists, TD_NITEMS(lists), false}};
    for (size_t i = 0; i < TD_NITEMS(parts); i++)
        if (!only || strcmp(only, parts[i].name) == 0)
            measure(b, parts[i].parallel ? threads : 1, ms, parts[i].ops, parts[i].n);
}

static void clean(struct store *store, int64_t steps)
{
    const struct cleaner *c = cleaners;
    while (strcmp(c->name, "commands") != 0)
        c++;
    struct sweep s = {.now = clock_now(&clock_system), .max = CLEAN_STEP_MAX, .more = true};
    s.before = s.now;
    int64_t from = now_us(), rows = 0, done = 0;
    for (; done < steps && s.more; done++) {
        struct errinfo ei = {0};
        if (cleaner_step(c, store, &s, &ei) != TD_OK)
            die("clean", &ei);
        rows += s.gone;
    }
    int64_t took = now_us() - from;
    printf("{\"op\": \"clean\", \"threads\": 1, \"n\": %" PRId64 ", \"per_second\": %.1f, "
           "\"p50_us\": %" PRId64 "}\n",
           rows, (double)rows * 1e6 / (double)took, done ? took / done : 0);
}

/* --- set-up ---------------------------------------------------------------------------------- */

static enum td_err push(void *ctx, const struct push_target *t, struct errinfo *ei)
{
    (void)ctx, (void)t, (void)ei;
    return TD_OK;
}

static void open_all(const char *url, struct bench *b)
{
    struct errinfo ei = {0};
    struct store_stmts sets[64];
    size_t n = server_stmts(sets, TD_NITEMS(sets));
    if (n > TD_NITEMS(sets))
        abort();
    const struct store_conf conf = {.url = url,
                                    .readers = 8,
                                    .batch = 256,
                                    .queue = 4096,
                                    .sync_full = true,
                                    .sets = sets,
                                    .nsets = n,
                                    .clock = &clock_system};
    if (store_open(&conf, &b->store, &ei) != TD_OK)
        die(url, &ei);
    const struct core_conf core = {.store = b->store,
                                   .clock = &clock_system,
                                   .rng = &rng_system,
                                   .ops = {.cert_lookup = bind_cert_lookup,
                                           .device_listed = bind_device_listed,
                                           .cert_supersede = bind_cert_supersede},
                                   .push = {.send = push},
                                   .topic = "com.apple.mgmt.External.scale",
                                   .enrollment_profile = "org.testudo.enrollment"};
    if (core_open(&core, &b->core, &ei) != TD_OK)
        die("core", &ei);
}

static int64_t number(const char *s)
{
    uint64_t v = 0;
    if (num_u64(span_str(s), 1 << 30, &v) != TD_OK || v < 1)
        abort();
    return (int64_t)v;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    log_setup(LOG_ERROR, LOG_FORMAT_LOGFMT, 2);
    if ((argc != 2 && argc != 5 && argc != 6) || crypt_init(NULL) != TD_OK)
        return 2;
    plist_init();
    open_all(argv[1], &b);
    if (argc >= 5)
        b.devices = (uint64_t)number(argv[2]);
    if (argc == 5 && strcmp(argv[3], "clean") == 0) {
        clean(b.store, number(argv[4]));
    } else if (argc >= 5) {
        int64_t ms = number(argv[3]);
        unsigned threads = (unsigned)number(argv[4]);
        if (threads > THREADS_MAX || b.devices < threads)
            return 2;
        measure_parts(&b, threads, ms, argc == 6 ? argv[5] : NULL);
    }
    core_close(b.core);
    store_close(b.store);
    return 0;
}
