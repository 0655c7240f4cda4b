#include "acme/signer/proto/signer_msg.h"

#include <stdio.h>

#include "mdm/base/limits.h"
#include "mdm/base/rd.h"

#define REASON_NONE 0xff                 /* no CRLReason */
#define REASON_LAST 10                   /* aACompromise, RFC 5280 section 5.3.1 */
#define TIME_LIMIT INT64_C(253402300799) /* 9999-12-31, the last time ASN.1 can say */

/* A run of min..max bytes. */
static bool put_span(struct buf *b, struct span s, size_t min, size_t max)
{
    if (s.n < min || s.n > max || s.n > UINT16_MAX)
        return false;
    buf_u16(b, (uint16_t)s.n);
    buf_span(b, s);
    return true;
}

static struct span get_span(struct rd *r, size_t min, size_t max)
{
    size_t n = rd_u16(r);
    if (n < min || n > max)
        r->bad = true;
    return rd_span(r, n);
}

static bool put_time(struct buf *b, int64_t t)
{
    if (t < 0 || t > TIME_LIMIT)
        return false;
    buf_u64(b, (uint64_t)t);
    return true;
}

static int64_t get_time(struct rd *r)
{
    uint64_t t = rd_u64(r);
    if (t > (uint64_t)TIME_LIMIT)
        r->bad = true;
    return r->bad ? 0 : (int64_t)t;
}

static bool hello_put(struct buf *b, const struct signer_msg *m)
{
    const struct signer_msg_hello *h = &m->u.hello;
    if (h->n == 0 || h->n > SIGNER_MSG_ISSUERS_MAX || !put_span(b, h->root, 1, UINT16_MAX))
        return false;
    buf_u8(b, (uint8_t)h->n);
    for (size_t i = 0; i < h->n; i++)
        if (!put_span(b, h->issuers[i].cert, 1, UINT16_MAX) ||
            !put_span(b, h->issuers[i].responder, 1, UINT16_MAX))
            return false;
    buf_u32(b, h->crl_shards);
    return h->crl_shards >= 1 && h->crl_shards <= SIGNER_MSG_SHARDS_MAX &&
           put_span(b, h->crl_url, 0, SIGNER_MSG_TEXT_MAX) &&
           put_span(b, h->root_crl, 0, UINT16_MAX);
}

static void hello_get(struct rd *r, struct signer_msg *m)
{
    struct signer_msg_hello *h = &m->u.hello;
    h->root = get_span(r, 1, UINT16_MAX);
    h->n = rd_u8(r);
    if (h->n == 0 || h->n > SIGNER_MSG_ISSUERS_MAX) {
        r->bad = true;
        h->n = 0;
    }
    for (size_t i = 0; i < h->n; i++) {
        h->issuers[i].cert = get_span(r, 1, UINT16_MAX);
        h->issuers[i].responder = get_span(r, 1, UINT16_MAX);
    }
    h->crl_shards = rd_u32(r);
    if (h->crl_shards == 0 || h->crl_shards > SIGNER_MSG_SHARDS_MAX)
        r->bad = true;
    h->crl_url = get_span(r, 0, SIGNER_MSG_TEXT_MAX);
    h->root_crl = get_span(r, 0, UINT16_MAX);
}

static void get_issuer(struct rd *r, uint8_t out[static SIGNER_MSG_ISSUER_SIZE])
{
    struct span id = rd_span(r, SIGNER_MSG_ISSUER_SIZE);
    if (id.n == SIGNER_MSG_ISSUER_SIZE)
        memcpy(out, id.p, SIGNER_MSG_ISSUER_SIZE);
}

static bool responder_put(struct buf *b, const struct signer_msg *m)
{
    buf_add(b, m->u.responder.issuer, SIGNER_MSG_ISSUER_SIZE);
    return put_time(b, m->u.responder.not_after);
}

static void responder_get(struct rd *r, struct signer_msg *m)
{
    get_issuer(r, m->u.responder.issuer);
    m->u.responder.not_after = get_time(r);
}

static bool refused_put(struct buf *b, const struct signer_msg *m)
{
    const struct signer_msg_refused *f = &m->u.refused;
    if (f->code <= TD_OK || f->code >= TD_ERR_MAX)
        return false;
    buf_u16(b, (uint16_t)f->code);
    return put_span(b, f->reason, 0, SIGNER_MSG_TEXT_MAX) &&
           put_span(b, f->text, 0, SIGNER_MSG_TEXT_MAX);
}

static void refused_get(struct rd *r, struct signer_msg *m)
{
    unsigned code = rd_u16(r);
    if (code == TD_OK || code >= TD_ERR_MAX)
        r->bad = true;
    m->u.refused.code = (enum td_err)code;
    m->u.refused.reason = get_span(r, 0, SIGNER_MSG_TEXT_MAX);
    m->u.refused.text = get_span(r, 0, SIGNER_MSG_TEXT_MAX);
}

static bool empty_put(struct buf *b, const struct signer_msg *m)
{
    (void)b, (void)m;
    return true;
}

static void empty_get(struct rd *r, struct signer_msg *m)
{
    (void)r, (void)m;
}

/* In ascending order of their numbers, the unknown ones left out. */
static bool facts_put(struct buf *b, const struct profile_facts *f)
{
    uint8_t n = 0;
    for (unsigned i = 0; i < FACT_MAX; i++)
        n = (uint8_t)(n + (f->of[i].value.n > 0));
    buf_u8(b, n);
    for (unsigned i = 0; i < FACT_MAX; i++) {
        const struct profile_fact *v = &f->of[i];
        if (v->value.n == 0)
            continue;
        if ((unsigned)v->source >= FACT_SOURCES)
            return false;
        buf_u8(b, (uint8_t)i);
        buf_u8(b, (uint8_t)v->source);
        if (!put_span(b, v->value, 1, PROFILE_FACT_VALUE_MAX))
            return false;
    }
    return true;
}

static void facts_get(struct rd *r, struct profile_facts *f)
{
    unsigned n = rd_u8(r), least = 0;
    *f = (struct profile_facts){0};
    for (unsigned i = 0; i < n && !r->bad; i++) {
        unsigned id = rd_u8(r), source = rd_u8(r);
        struct span value = get_span(r, 1, PROFILE_FACT_VALUE_MAX);
        if (id < least || id >= FACT_MAX || source >= FACT_SOURCES)
            r->bad = true;
        else
            f->of[id] = (struct profile_fact){value, (enum profile_fact_source)source};
        least = id + 1;
    }
}

static bool issue_put(struct buf *b, const struct signer_msg *m)
{
    const struct signer_msg_issue *i = &m->u.issue;
    buf_add(b, i->evidence_sha256, SHA256_SIZE);
    return put_span(b, i->profile, 1, LIMIT_SERIAL) &&
           put_span(b, i->device_serial, 0, SIGNER_MSG_TEXT_MAX) &&
           put_span(b, i->spki, 1, SIGNER_MSG_SPKI_MAX) && facts_put(b, &i->facts);
}

static void issue_get(struct rd *r, struct signer_msg *m)
{
    struct signer_msg_issue *i = &m->u.issue;
    struct span hash = rd_span(r, SHA256_SIZE);
    if (hash.n == SHA256_SIZE)
        memcpy(i->evidence_sha256, hash.p, SHA256_SIZE);
    i->profile = get_span(r, 1, LIMIT_SERIAL);
    i->device_serial = get_span(r, 0, SIGNER_MSG_TEXT_MAX);
    i->spki = get_span(r, 1, SIGNER_MSG_SPKI_MAX);
    facts_get(r, &i->facts);
}

/* A time and a reason belong to `revoked` alone. */
static bool single_valid(const struct ocsp_single *s)
{
    if (s->status == OCSP_REVOKED)
        return s->reason >= -1 && s->reason <= REASON_LAST;
    return (s->status == OCSP_GOOD || s->status == OCSP_UNKNOWN) && s->revoked_at == 0 &&
           s->reason == -1;
}

static bool single_put(struct buf *b, const struct ocsp_single *s)
{
    if (!single_valid(s))
        return false;
    buf_u8(b, (uint8_t)s->status);
    buf_u8(b, s->reason < 0 ? REASON_NONE : (uint8_t)s->reason);
    return put_time(b, s->revoked_at) && put_time(b, s->this_update) &&
           put_time(b, s->next_update) && put_span(b, s->certid_der, 1, SIGNER_MSG_CERTID_MAX);
}

static void single_get(struct rd *r, struct ocsp_single *s)
{
    uint8_t status = rd_u8(r), reason = rd_u8(r);
    s->status = (enum ocsp_status)status;
    s->reason = reason == REASON_NONE ? -1 : reason;
    s->revoked_at = get_time(r);
    s->this_update = get_time(r);
    s->next_update = get_time(r);
    s->certid_der = get_span(r, 1, SIGNER_MSG_CERTID_MAX);
    if (!single_valid(s))
        r->bad = true;
}

static bool ocsp_put(struct buf *b, const struct signer_msg *m)
{
    const struct signer_msg_ocsp *o = &m->u.ocsp;
    if (o->n == 0 || o->n > OCSP_IDS_MAX)
        return false;
    buf_add(b, o->issuer, SIGNER_MSG_ISSUER_SIZE);
    buf_u8(b, (uint8_t)o->n);
    for (size_t i = 0; i < o->n; i++)
        if (!single_put(b, &o->singles[i]))
            return false;
    return put_span(b, o->nonce, 0, SIGNER_MSG_NONCE_MAX);
}

static void ocsp_get(struct rd *r, struct signer_msg *m)
{
    struct signer_msg_ocsp *o = &m->u.ocsp;
    get_issuer(r, o->issuer);
    o->n = rd_u8(r);
    if (o->n == 0 || o->n > OCSP_IDS_MAX) {
        r->bad = true;
        o->n = 0;
    }
    for (size_t i = 0; i < o->n; i++)
        single_get(r, &o->singles[i]);
    o->nonce = get_span(r, 0, SIGNER_MSG_NONCE_MAX);
}

static bool signed_put(struct buf *b, const struct signer_msg *m)
{
    buf_add(b, m->u.signed_.issuer, SIGNER_MSG_ISSUER_SIZE);
    return put_span(b, m->u.signed_.der, 1, UINT16_MAX);
}

static void signed_get(struct rd *r, struct signer_msg *m)
{
    get_issuer(r, m->u.signed_.issuer);
    m->u.signed_.der = get_span(r, 1, UINT16_MAX);
}

static bool crl_entry_put(struct buf *b, const struct crl_entry *e)
{
    if (e->nserial == 0 || e->nserial > CRL_SERIAL_MAX || e->reason < CRL_REASON_NONE ||
        e->reason > REASON_LAST)
        return false;
    buf_u8(b, e->nserial);
    buf_add(b, e->serial, e->nserial);
    buf_u8(b, e->reason < 0 ? REASON_NONE : (uint8_t)e->reason);
    return put_time(b, e->revoked_at);
}

static void crl_entry_get(struct rd *r, struct crl_entry *e)
{
    struct span serial = rd_span(r, rd_u8(r));
    uint8_t reason = rd_u8(r);
    int64_t at = get_time(r);
    if (!crl_entry_set(e, serial, at, reason == REASON_NONE ? CRL_REASON_NONE : reason) ||
        (reason > REASON_LAST && reason != REASON_NONE))
        r->bad = true;
}

bool signer_msg_crl_next(struct span *raw, struct crl_entry *ret)
{
    struct rd r = rd_init(*raw);
    if (raw->n == 0)
        return false;
    crl_entry_get(&r, ret);
    *raw = rd_span(&r, rd_left(&r));
    return !r.bad;
}

static bool crl_head_valid(const struct signer_msg_crl *c)
{
    return c->shard >= SIGNER_MSG_CRL_COMPLETE && c->shard < SIGNER_MSG_SHARDS_MAX &&
           c->total <= CRL_ENTRIES_MAX && c->n <= SIGNER_MSG_CRL_STEP && c->first <= c->total &&
           c->n <= c->total - c->first;
}

static bool crl_put(struct buf *b, const struct signer_msg *m)
{
    const struct signer_msg_crl *c = &m->u.crl;
    if (!crl_head_valid(c))
        return false;
    buf_add(b, c->issuer, SIGNER_MSG_ISSUER_SIZE);
    buf_u16(b, (uint16_t)(c->shard + 1));
    buf_u64(b, c->number);
    if (!put_time(b, c->this_update) || !put_time(b, c->next_update))
        return false;
    buf_u32(b, c->total);
    buf_u32(b, c->first);
    buf_u16(b, (uint16_t)c->n);
    if (!c->entries) { /* what was decoded */
        buf_span(b, c->raw);
        return c->n == 0 || c->raw.n > 0;
    }
    for (size_t i = 0; i < c->n; i++)
        if (!crl_entry_put(b, &c->entries[i]))
            return false;
    return true;
}

static void crl_get(struct rd *r, struct signer_msg *m)
{
    struct signer_msg_crl *c = &m->u.crl;
    get_issuer(r, c->issuer);
    c->shard = (int)rd_u16(r) - 1;
    c->number = rd_u64(r);
    c->this_update = get_time(r);
    c->next_update = get_time(r);
    c->total = rd_u32(r);
    c->first = rd_u32(r);
    c->n = rd_u16(r);
    if (!crl_head_valid(c))
        r->bad = true;
    struct rd from = *r;
    for (size_t i = 0; i < c->n && !r->bad; i++) {
        struct crl_entry e;
        crl_entry_get(r, &e);
    }
    c->raw = rd_span(&from, r->bad ? 0 : rd_left(&from) - rd_left(r));
}

unsigned signer_msg_crl_shard(struct span serial, unsigned shards)
{
    unsigned low = 0;
    for (size_t i = serial.n > 2 ? serial.n - 2 : 0; i < serial.n; i++)
        low = low << 8 | serial.p[i];
    return shards ? low % shards : 0;
}

bool signer_msg_crl_uri(struct span url, const char *issuer_hex, unsigned shard,
                        char out[static SIGNER_MSG_URI_SIZE])
{
    int n = snprintf(out, SIGNER_MSG_URI_SIZE, "%.*s/%s/%u.crl", (int)url.n, (const char *)url.p,
                     issuer_hex, shard);
    return url.n > 0 && n > 0 && n < SIGNER_MSG_URI_SIZE;
}

struct codec {
    bool (*put)(struct buf *b, const struct signer_msg *m); /* false: a field out of range */
    void (*get)(struct rd *r, struct signer_msg *m);
};

static const struct codec codecs[SIGNER_MSG_TYPE_MAX] = {
    [SIGNER_MSG_HELLO] = {hello_put, hello_get},
    [SIGNER_MSG_FATAL] = {refused_put, refused_get},
    [SIGNER_MSG_GONE] = {empty_put, empty_get},
    [SIGNER_MSG_ISSUE] = {issue_put, issue_get},
    [SIGNER_MSG_OCSP] = {ocsp_put, ocsp_get},
    [SIGNER_MSG_SIGNED] = {signed_put, signed_get},
    [SIGNER_MSG_REFUSED] = {refused_put, refused_get},
    [SIGNER_MSG_CRL] = {crl_put, crl_get},
    [SIGNER_MSG_MORE] = {empty_put, empty_get},
    [SIGNER_MSG_RELOAD] = {empty_put, empty_get},
    [SIGNER_MSG_READY] = {empty_put, empty_get},
    [SIGNER_MSG_LEAVE] = {empty_put, empty_get},
    [SIGNER_MSG_RESPONDER] = {responder_put, responder_get},
};
_Static_assert(TD_NITEMS(codecs) == SIGNER_MSG_TYPE_MAX, "a codec per type");

enum td_err signer_msg_put(struct buf *b, const struct signer_msg *m)
{
    if ((unsigned)m->type >= SIGNER_MSG_TYPE_MAX || !codecs[m->type].put)
        return TD_INVAL;
    buf_u8(b, SIGNER_MSG_VERSION);
    buf_u8(b, (uint8_t)m->type);
    buf_u32(b, m->generation);
    buf_u64(b, m->id);
    if (!codecs[m->type].put(b, m))
        return TD_INVAL;
    return b->err;
}

bool signer_msg_has_head(struct span s)
{
    return s.n >= SIGNER_MSG_HEAD_SIZE;
}

enum td_err signer_msg_get(struct span s, struct signer_msg *ret)
{
    if (s.n > LIMIT_SIGNER_MSG)
        return TD_LIMIT;
    struct rd r = rd_init(s);
    uint8_t version = rd_u8(&r), type = rd_u8(&r);
    struct signer_msg m = {.generation = rd_u32(&r)};
    m.id = rd_u64(&r);
    if (r.bad)
        return TD_PARSE;
    ret->generation = m.generation;
    ret->id = m.id;
    if (version != SIGNER_MSG_VERSION || type >= SIGNER_MSG_TYPE_MAX || !codecs[type].get)
        return TD_UNSUPPORTED;
    m.type = (enum signer_msg_type)type;
    codecs[type].get(&r, &m);
    if (!rd_done(&r))
        return TD_PARSE;
    *ret = m;
    return TD_OK;
}

void signer_msg_refusal(struct signer_msg *m, uint64_t id, enum td_err e, const struct errinfo *ei)
{
    const char *text = err_msg(ei, e);
    *m = (struct signer_msg){.type = SIGNER_MSG_REFUSED, .id = id};
    m->u.refused = (struct signer_msg_refused){
        .code = e,
        .reason = span_sub(span_str(ei ? ei->reason : NULL), 0, SIGNER_MSG_TEXT_MAX),
        .text = span_sub(span_str(text), 0, SIGNER_MSG_TEXT_MAX),
    };
}
