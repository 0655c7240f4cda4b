#include "acme/server/certificate.h"

#include "acme/server/call.h"
#include "acme/server/order_row.h"
#include "acme/server/problem.h"
#include "acme/server/url.h"

struct job {
    const struct acme_call *c;
    const char *id;
    struct ca_record rec;
};

static enum td_err fetch(struct tx *tx, void *ctx, struct errinfo *ei)
{
    struct job *j = ctx;
    struct acme_order o;
    TD_TRY(acme_order_get(tx, j->c, j->id, &o, ei));
    if (o.state.order != ACME_VALID || !o.cert_serial.n)
        return acme_not_found(ei);
    enum td_err e = ca_record_get(tx, o.cert_serial, j->c->arena, &j->rec, ei);
    return e == TD_NOTFOUND ? acme_not_found(ei) : e;
}

enum td_err acme_certificate(const struct req *r, struct resp *resp, struct errinfo *ei)
{
    struct acme_call c;
    struct job j = {.c = &c};
    TD_TRY(acme_call_kid(r, resp, &c, ei));
    TD_TRY(acme_id_param(r, &j.id, ei));
    TD_TRY(acme_call_as_get(&c, ei));
    TD_TRY(acme_call_read(&c, fetch, &j, ei));
    TD_TRY(ca_chain_pem(c.acme->conf.ca, &j.rec, &resp->body, ei));
    resp->status = 200;
    resp->content_type = "application/pem-certificate-chain";
    return acme_reply_end(&c, ei);
}
