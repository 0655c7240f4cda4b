#include "mdm/store/audit.h"

enum { AUDIT_ADD, AUDIT_PAGE, AUDIT_CLEAN, AUDIT_MAX };

static const struct store_stmt stmts[AUDIT_MAX] = {
    [AUDIT_ADD] = {"audit.add",
                   "INSERT INTO audit (at, txn, actor, action, subject, detail)"
                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                   "ittttt", ""},
    [AUDIT_PAGE] = {"audit.page", SWEEP_PAGE("audit", "at", "id"), SWEEP_PAGE_IN("i"),
                    SWEEP_PAGE_OUT("i")},
    [AUDIT_CLEAN] = {"audit.clean",
                     SWEEP_DROP("audit", "at", "id") " AND action <> '" AUDIT_CA_ACTIVATED "'",
                     SWEEP_DROP_IN("i"), ""},
};

const struct store_stmts audit_stmts = {stmts, AUDIT_MAX};

/* Which event tells of an action, and what its subject is. NONE: nobody is told. OWN: the room
 * appends it itself, as the event says more than the row, or tells of other things. */
enum about { NONE, OWN, DEVICE, ID };

static const struct {
    const char *action;
    enum about about;
    enum outbox_type event;
} actions[] = {
    {AUDIT_CA_ACTIVATED, OWN, 0},
    {"certificate.hold", OWN, 0},
    {"certificate.release", OWN, 0},
    {"certificate.revoke", OWN, 0},
    {"certificates.revoke", OWN, 0},
    {"command.queue", NONE, 0},
    {"device.hold", DEVICE, OUTBOX_DEVICE_HELD},
    {"device.release", DEVICE, OUTBOX_DEVICE_RELEASED},
    {"eab.create", ID, OUTBOX_EAB_CREATED},
    {"eab.revoke", ID, OUTBOX_EAB_REVOKED},
    {"enrollment.authenticate", NONE, 0}, /* it is enrolled with its token */
    {"enrollment.enrolled", DEVICE, OUTBOX_DEVICE_ENROLLED},
    {"enrollment.removed", DEVICE, OUTBOX_DEVICE_UNENROLLED},
    {"enrollment.renewed", NONE, 0}, /* its certificates tell */
    {"inventory.create", DEVICE, OUTBOX_DEVICE_ADDED},
    {"inventory.delete", DEVICE, OUTBOX_DEVICE_LEFT},
    {"inventory.import", NONE, 0}, /* its rows tell */
    {"inventory.update", DEVICE, OUTBOX_DEVICE_CHANGED},
    {"invitation.create", NONE, 0},
    {"posture.change", OWN, 0},
    {"posture.exempt", NONE, 0},
    {"posture.fact", NONE, 0},
    {"posture.rule", NONE, 0},
    {"posture.rule.delete", NONE, 0},
    {"profile.assign", DEVICE, OUTBOX_PROFILE_ASSIGNED},
    {"profile.policy", NONE, 0},
    {"profile.unassign", DEVICE, OUTBOX_PROFILE_UNASSIGNED},
    {"token.create", ID, OUTBOX_TOKEN_CREATED},
    {"token.delete", ID, OUTBOX_TOKEN_DELETED},
    {"webhook.create", NONE, 0},
    {"webhook.delete", NONE, 0},
    {"webhook.gone", NONE, 0},
    {"webhook.secret", NONE, 0},
    {"webhook.update", NONE, 0},
};

enum td_err audit_add(struct tx *tx, int64_t now, const char *txn, const char *actor,
                      const char *action, const char *subject, const char *detail,
                      struct errinfo *ei)
{
    size_t i = 0;
    while (i < TD_NITEMS(actions) && strcmp(actions[i].action, action) != 0)
        i++;
    if (i == TD_NITEMS(actions))
        return err_set(ei, TD_INTERNAL, "audit action %s has no row in audit.c", action);
    TD_TRY(tx_exec(tx, &stmts[AUDIT_ADD],
                   SV_LIST(SV_INT(now), SV_TEXT(txn), SV_TEXT(actor), SV_TEXT(action),
                           SV_TEXT(subject), SV_TEXT(detail)),
                   NULL, ei));
    if (actions[i].about == NONE || actions[i].about == OWN)
        return TD_OK;
    struct outbox_event ev = {.type = actions[i].event, .at = now, .txn = txn, .actor = actor};
    size_t n = 0;
    if (actions[i].about == DEVICE) {
        ev.device = subject;
    } else {
        ev.data[n].key = "id";
        ev.data[n++].value = subject;
    }
    if (detail && detail[0]) {
        ev.data[n].key = "detail";
        ev.data[n].value = detail;
    }
    return outbox_add(tx, &ev, ei);
}

enum td_err audit_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, &stmts[AUDIT_PAGE], &stmts[AUDIT_CLEAN], s, ei);
}
