#include "acme/server/replaces.h"

#include "acme/ca/renewal.h"
#include "acme/server/certid.h"
#include "acme/server/problem.h"
#include "acme/server/stmts.h"

static enum td_err foreign(struct errinfo *ei, const char *whose)
{
    return acme_refuse(ei, TD_FORBIDDEN, "unauthorized", "replaces-foreign",
                       "the certificate to replace is of another %s", whose);
}

static enum td_err replaced(struct errinfo *ei)
{
    return acme_refuse(ei, TD_CONFLICT, "alreadyReplaced", "already-replaced",
                       "that certificate was replaced already, or another order does it");
}

/* Behind its time an order is gone, and its account with it: then the device alone counts, which
 * has to prove itself once more. */
static enum td_err check_account(struct tx *tx, const struct acme_call *c,
                                 const struct ca_record *r, struct errinfo *ei)
{
    struct cur row;
    if (!r->order_id)
        return TD_OK;
    enum td_err e = tx_row(tx, ACME_SQL(ORDER_ACCOUNT), SV_LIST(SV_TEXT(r->order_id)), &row, ei);
    if (e != TD_OK)
        return e == TD_NOTFOUND ? TD_OK : e;
    bool own = span_eq_str(cur_span(&row, 0), c->account_id);
    cur_end(&row);
    return own ? TD_OK : foreign(ei, "account");
}

/* By an order that stands, or by a certificate: of a renewal of ours, or of an order that is gone.
 */
static enum td_err check_free(struct tx *tx, const struct acme_call *c, const struct acme_order *o,
                              const struct ca_record *r, struct errinfo *ei)
{
    struct cur row;
    bool successor = false;
    const struct ca_due d = {.serial = r->serial, .device_serial = r->device_serial};
    enum td_err e = tx_row(tx, ACME_SQL(ORDER_REPLACES),
                           SV_LIST(SV_TEXT(o->replaces), SV_INT(c->now)), &row, ei);
    if (e == TD_OK) {
        cur_end(&row);
        return replaced(ei);
    }
    if (e != TD_NOTFOUND)
        return e;
    TD_TRY(ca_renewal_successor(tx, &d, &successor, ei));
    return successor ? replaced(ei) : TD_OK;
}

enum td_err acme_replaces_check(struct tx *tx, const struct acme_call *c,
                                const struct acme_order *o, struct errinfo *ei)
{
    struct ca_record r;
    if (!o->replaces)
        return TD_OK;
    enum td_err e = acme_certid_find(tx, span_str(o->replaces), c->arena, &r, ei);
    if (e == TD_NOTFOUND)
        return acme_refuse(ei, TD_INVAL, "malformed", "replaces-unknown",
                           "the certificate to replace is none of ours");
    TD_TRY(e);
    if (strcmp(r.device_serial, o->serial) != 0 || strcmp(r.profile, o->profile) != 0)
        return foreign(ei, "device or profile");
    TD_TRY(check_account(tx, c, &r, ei));
    return check_free(tx, c, o, &r, ei);
}

enum td_err acme_replaces_serial(struct tx *tx, const struct acme_call *c,
                                 const struct acme_order *o, struct span *ret, struct errinfo *ei)
{
    struct ca_record r;
    *ret = (struct span){NULL, 0};
    if (!o->replaces)
        return TD_OK;
    enum td_err e = acme_certid_find(tx, span_str(o->replaces), c->arena, &r, ei);
    if (e == TD_OK && r.state != CA_REVOKED)
        *ret = r.serial;
    return e == TD_NOTFOUND ? TD_OK : e;
}
