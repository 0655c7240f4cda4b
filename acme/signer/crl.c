#include "acme/signer/crl.h"

#include <stdio.h>
#include <stdlib.h>

#define TBS_MAX ((size_t)16 * 1024 * 1024)
#define SUBJECT_MAX 80

void crl_maker_init(struct crl_maker *c, const struct clock *clock)
{
    *c = (struct crl_maker){.bucket = {(int64_t)CRL_RATE * 1000, clock_mono(clock)}};
}

static void drop(struct crl_maker *c)
{
    free(c->entries);
    c->entries = NULL;
    c->have = 0;
}

void crl_maker_free(struct crl_maker *c)
{
    drop(c);
}

static uint64_t *last_number(struct crl_maker *c, const struct issuer *is,
                             const struct cadir_issuing *by, int shard)
{
    return &c->last[by - is->ca->issuing][shard - SIGNER_MSG_CRL_COMPLETE];
}

static enum td_err check_head(struct crl_maker *c, const struct issuer *is,
                              const struct cadir_issuing *by, const struct signer_msg_crl *m,
                              struct errinfo *ei)
{
    const struct cadir_conf *conf = &is->ca->conf;
    int64_t now = clock_now(is->clock);
    if (m->shard != SIGNER_MSG_CRL_COMPLETE && (!*conf->crl_url || m->shard >= conf->crl_shards))
        return err_reason(ei, TD_INVAL, "crl-shard", "there is no such part of the CRL");
    if (m->this_update < now - CRL_PAST_MAX || m->this_update > now + CRL_FUTURE_MAX ||
        m->next_update <= now || m->next_update - m->this_update > CRL_WINDOW_MAX)
        return err_reason(ei, TD_INVAL, "window", "the CRL's times are not now or too far apart");
    if (m->number <= *last_number(c, is, by, m->shard))
        return err_reason(ei, TD_STATE, "crl-number", "the CRL's number is not a new one");
    return TD_OK;
}

static enum td_err begin(struct crl_maker *c, const struct signer_msg_crl *m, struct errinfo *ei)
{
    drop(c);
    c->entries = calloc(m->total ? m->total : 1, sizeof *c->entries);
    if (!c->entries)
        return err_set(ei, TD_NOMEM, "no memory for a CRL");
    c->head = *m;
    return TD_OK;
}

/* The part that follows what there is, of the same CRL. */
static bool follows(const struct crl_maker *c, const struct signer_msg_crl *m)
{
    const struct signer_msg_crl *h = &c->head;
    return c->entries && memcmp(h->issuer, m->issuer, sizeof h->issuer) == 0 &&
           h->shard == m->shard && h->number == m->number && h->this_update == m->this_update &&
           h->next_update == m->next_update && h->total == m->total && m->first == c->have &&
           m->n > 0;
}

static void collect(struct crl_maker *c, const struct signer_msg_crl *m)
{
    struct span raw = m->raw;
    for (size_t i = 0; i < m->n && c->have < c->head.total; i++)
        if (signer_msg_crl_next(&raw, &c->entries[c->have]))
            c->have++;
}

static enum td_err add_line(struct issuer *is, const struct cadir_issuing *by,
                            const struct signer_msg_crl *m, struct span tbs, struct errinfo *ei)
{
    char subject[SUBJECT_MAX];
    uint8_t hash[SHA256_SIZE];
    if (m->shard == SIGNER_MSG_CRL_COMPLETE)
        snprintf(subject, sizeof subject, "complete number=%llu entries=%u",
                 (unsigned long long)m->number, (unsigned)m->total);
    else
        snprintf(subject, sizeof subject, "shard=%d number=%llu entries=%u", m->shard,
                 (unsigned long long)m->number, (unsigned)m->total);
    struct audit_entry line = {.at = clock_now(is->clock), .profile = "crl", .subject = subject};
    digest_sha256(tbs, hash);
    line.evidence_sha256 = SPAN_ARR(hash); /* of what was signed */
    cert_spki_sha256(by->cert, line.spki_sha256);
    return audit_log_add(is->audit, &line, ei);
}

static enum td_err finish(struct crl_maker *c, struct issuer *is, const struct cadir_issuing *by,
                          struct arena *a, struct signer_msg_signed *ret, struct errinfo *ei)
{
    const struct signer_msg_crl *m = &c->head;
    char uri[SIGNER_MSG_URI_SIZE];
    if (!issue_bucket_take(&c->bucket, clock_mono(is->clock), CRL_RATE))
        return err_reason(ei, TD_BUSY, "rate", "too many CRLs a second");
    struct crl_spec spec = {.number = m->number,
                            .this_update = m->this_update,
                            .next_update = m->next_update,
                            .entries = c->entries,
                            .n = c->have};
    if (m->shard != SIGNER_MSG_CRL_COMPLETE) {
        if (!signer_msg_crl_uri(span_str(is->ca->conf.crl_url), by->hex, (unsigned)m->shard, uri))
            return err_set(ei, TD_INVAL, "the CRL's address is too long");
        spec.uri = uri;
    }
    buf_auto tbs;
    buf_init(&tbs, TBS_MAX);
    TD_TRY(crl_tbs(&spec, by->cert, &tbs, ei));
    TD_TRY(crl_sign(buf_view(&tbs), by->key, a, &ret->der, ei));
    TD_TRY(add_line(is, by, m, buf_view(&tbs), ei));
    *last_number(c, is, by, m->shard) = m->number;
    return TD_OK;
}

enum td_err crl_handle(struct crl_maker *c, struct issuer *is, const struct signer_msg_crl *m,
                       struct arena *a, struct signer_msg_signed *ret, struct errinfo *ei)
{
    const struct cadir_issuing *by = cadir_find(is->ca, m->issuer);
    if (!by)
        return err_reason(ei, TD_FORBIDDEN, "certid-issuer", "no issuing CA of ours");
    TD_TRY(check_head(c, is, by, m, ei));
    if (m->first == 0)
        TD_TRY(begin(c, m, ei));
    else if (!follows(c, m))
        return err_reason(ei, TD_STATE, "crl-order", "not the part of the CRL that follows");
    collect(c, m);
    memcpy(ret->issuer, by->id, sizeof ret->issuer);
    ret->der = (struct span){NULL, 0};
    if (c->have < c->head.total)
        return TD_OK;
    enum td_err e = finish(c, is, by, a, ret, ei);
    drop(c);
    return e;
}
