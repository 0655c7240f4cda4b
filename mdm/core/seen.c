#include "mdm/core/seen.h"

#include <pthread.h>
#include <stdlib.h>

#include "mdm/base/log.h"
#include "mdm/core/pump.h"

enum {
    PERIOD_MS = 2000, /* MB-55 */
    SLOTS = 2048,
    FLUSH_AT = 1000, /* MB-55 */
    FULL_AT = 1536,  /* beyond it notes are dropped: the probing must end soon */
    SWEEP_PAGE = 256,
    SWEEP_EVERY_MS = 4000, /* 64 devices a second: 5.5 million a day */
    SWEEP_ROUND = 86400,   /* s: a device is woken by the sweep once a day at most */
    SILENT_AFTER = 86400   /* s, MB-61 */
};

struct table {
    size_t n;
    struct {
        char id[CORE_ID_MAX + 1]; /* "" = free */
        int64_t at;
    } slots[SLOTS];
};

struct core_seen {
    struct core *c;
    struct tick *tick;
    pthread_mutex_t mutex;
    struct table *live, *spare; /* live is under the mutex; spare is the thread's */
    /* the sweep: the thread's own */
    char cursor[CORE_ID_MAX + 1];
    int64_t round_at, page_ms;
};

static size_t slot_of(const struct table *t, const char *id)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (const char *p = id; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    size_t i = h % SLOTS;
    while (t->slots[i].id[0] && strcmp(t->slots[i].id, id) != 0)
        i = (i + 1) % SLOTS;
    return i;
}

void core_seen_note(struct core_seen *s, const char *id, int64_t now)
{
    bool kick = false;
    size_t n = strlen(id);
    if (n < 1 || n > CORE_ID_MAX)
        return;
    pthread_mutex_lock(&s->mutex);
    size_t i = slot_of(s->live, id);
    if (s->live->slots[i].id[0]) {
        s->live->slots[i].at = now;
    } else if (s->live->n < FULL_AT) {
        memcpy(s->live->slots[i].id, id, n + 1);
        s->live->slots[i].at = now;
        kick = ++s->live->n == FLUSH_AT;
    }
    pthread_mutex_unlock(&s->mutex);
    if (kick)
        tick_kick(s->tick);
}

static enum td_err flush_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct table *t = ctx;
    for (size_t i = 0; i < SLOTS; i++) {
        if (!t->slots[i].id[0])
            continue;
        TD_TRY(tx_exec(tx, CORE_SQL(ENR_SEEN),
                       SV_LIST(SV_TEXT(t->slots[i].id), SV_INT(t->slots[i].at)), NULL, ei));
    }
    return TD_OK;
}

static void flush(struct core_seen *s)
{
    struct errinfo ei = {0};
    pthread_mutex_lock(&s->mutex);
    struct table *t = s->live;
    bool any = t->n != 0;
    if (any) {
        s->live = s->spare;
        s->spare = t;
    }
    pthread_mutex_unlock(&s->mutex);
    if (!any) /* t is still the live one */
        return;
    /* A lost batch is no harm: the devices come again. */
    enum td_err e = store_write(s->c->conf.store, flush_job, t, &ei);
    if (e != TD_OK)
        log_ev(LOG_WARN, "core.last_seen_lost", KV_I64("devices", t->n),
               KV("error", err_msg(&ei, e)));
    memset(t, 0, sizeof *t);
}

struct page {
    const char *after;
    int64_t now, silent_before;
    size_t rows, due;
    char last[CORE_ID_MAX + 1];
    char ids[SWEEP_PAGE][CORE_ID_MAX + 1];
};

static enum td_err page_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct page *p = ctx;
    struct cur cur;
    enum td_err e;
    p->rows = p->due = 0;
    TD_TRY(tx_query(tx, CORE_SQL(ENR_SWEEP), SV_LIST(SV_TEXT(p->after), SV_INT(SWEEP_PAGE)), &cur,
                    ei));
    while ((e = cur_next(&cur, ei)) == TD_OK) {
        struct span id = cur_span(&cur, 0);
        if (p->rows >= SWEEP_PAGE || id.n > CORE_ID_MAX)
            break;
        p->rows++;
        memcpy(p->last, id.p, id.n);
        p->last[id.n] = 0;
        if (cur_int(&cur, 2) && cur_int(&cur, 1) < p->silent_before)
            memcpy(p->ids[p->due++], p->last, id.n + 1);
    }
    if (e != TD_NOTFOUND)
        cur_end(&cur);
    return e == TD_NOTFOUND ? TD_OK : e;
}

static enum td_err wake_job(struct tx *tx, void *ctx, struct errinfo *ei)
{
    const struct page *p = ctx;
    for (size_t i = 0; i < p->due; i++)
        TD_TRY(tx_exec(tx, CORE_SQL(PUSH_LATER),
                       SV_LIST(SV_TEXT(p->ids[i]), SV_INT(p->now), SV_INT(p->now)), NULL, ei));
    return TD_OK;
}

/* A page of the fleet now and then, the whole once a day: no scan that grows with the queue. */
static void sweep(struct core_seen *s)
{
    int64_t mono = clock_mono(s->c->conf.clock), now = clock_now(s->c->conf.clock);
    if (mono - s->page_ms < SWEEP_EVERY_MS)
        return;
    if (!s->cursor[0] && s->round_at && now - s->round_at < SWEEP_ROUND)
        return;
    s->page_ms = mono;
    if (!s->cursor[0])
        s->round_at = now;
    struct page *p = calloc(1, sizeof *p);
    if (!p)
        return;
    struct errinfo ei = {0};
    p->after = s->cursor;
    p->now = now;
    p->silent_before = now - SILENT_AFTER;
    enum td_err e = store_read(s->c->conf.store, page_job, p, &ei);
    if (e == TD_OK && p->due)
        e = store_write(s->c->conf.store, wake_job, p, &ei);
    if (e != TD_OK) {
        log_ev(LOG_WARN, "core.sweep_failed", KV("error", err_msg(&ei, e)));
    } else {
        if (p->rows == SWEEP_PAGE)
            memcpy(s->cursor, p->last, sizeof s->cursor);
        else
            s->cursor[0] = 0;
        if (p->due) {
            log_ev(LOG_INFO, "core.woke_silent", KV_I64("devices", p->due));
            core_pump_kick(s->c);
        }
    }
    free(p);
}

static void tick(void *ctx)
{
    struct core_seen *s = ctx;
    flush(s);
    sweep(s);
}

static void seen_free(struct core_seen *s)
{
    pthread_mutex_destroy(&s->mutex);
    free(s->live);
    free(s->spare);
    free(s);
}

enum td_err core_seen_start(struct core *c, struct core_seen **ret, struct errinfo *ei)
{
    struct core_seen *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(ei, TD_NOMEM, "no memory for the last-seen table");
    s->c = c;
    s->page_ms = clock_mono(c->conf.clock);
    pthread_mutex_init(&s->mutex, NULL);
    s->live = calloc(1, sizeof *s->live);
    s->spare = calloc(1, sizeof *s->spare);
    if (!s->live || !s->spare) {
        seen_free(s);
        return err_set(ei, TD_NOMEM, "no memory for the last-seen table");
    }
    enum td_err e = tick_start("td-seen", PERIOD_MS, tick, s, &s->tick, ei);
    if (e != TD_OK) {
        seen_free(s);
        return e;
    }
    *ret = s;
    return TD_OK;
}

void core_seen_stop(struct core_seen *s)
{
    if (!s)
        return;
    tick_stop(s->tick);
    s->tick = NULL;
    flush(s);
    seen_free(s);
}
