/* What must hold between the rows, one query each: the rooms keep it in their transactions, so a
 * row here means a fault of the program, a restore of half a database, or somebody's own hand. */
#include "mdm/store/check.h"

#define RULE(name, key, doc, sql)                                                                  \
    {                                                                                              \
        name, doc,                                                                                 \
        {                                                                                          \
            "check." name, sql " LIMIT ?1", "i", key                                               \
        }                                                                                          \
    }

const struct check_rule check_rules[] = {
    /* enrolments */
    RULE("enrollment-not-listed", "t", "enrolled, though the device is not in the inventory",
         "SELECT e.id FROM enrollments e WHERE e.state IN ('authenticated', 'enrolled') AND NOT"
         " EXISTS (SELECT 1 FROM inv_devices d WHERE d.serial = e.serial) ORDER BY e.id"),
    RULE("enrollment-state", "t", "an enrolment in no known state",
         "SELECT id FROM enrollments WHERE state NOT IN ('authenticated', 'enrolled', 'leaving',"
         " 'removed') ORDER BY id"),
    RULE("enrollment-without-certificate", "t", "pinned to a certificate that was never issued",
         "SELECT e.id FROM enrollments e WHERE e.state IN ('authenticated', 'enrolled') AND NOT"
         " EXISTS (SELECT 1 FROM certificates c WHERE c.sha256 = e.cert_sha256) ORDER BY e.id"),
    RULE("enrollment-of-other-device", "t", "pinned to a certificate of another device",
         "SELECT e.id FROM enrollments e JOIN certificates c ON c.sha256 = e.cert_sha256 WHERE"
         " c.device_serial <> e.serial ORDER BY e.id"),
    RULE("enrollment-without-push", "t", "enrolled, but no push can reach the device",
         "SELECT id FROM enrollments WHERE state = 'enrolled' AND (push_token IS NULL OR"
         " push_magic IS NULL OR enrolled_at IS NULL) ORDER BY id"),
    RULE("enrollment-left-without-time", "t", "the device left, nobody knows when",
         "SELECT id FROM enrollments WHERE state IN ('leaving', 'removed') AND left_at IS NULL"
         " ORDER BY id"),
    RULE("pin-shared", "b", "one certificate is pinned to two enrolments",
         "SELECT cert_sha256 FROM enrollments GROUP BY cert_sha256 HAVING COUNT(*) > 1 ORDER BY"
         " cert_sha256"),
    /* commands */
    RULE("command-of-nobody", "t", "a command whose enrolment is gone",
         "SELECT c.uuid FROM commands c WHERE NOT EXISTS (SELECT 1 FROM enrollments e WHERE"
         " e.id = c.enrollment_id) ORDER BY c.uuid"),
    RULE("command-state", "t", "a command in no known state",
         "SELECT uuid FROM commands WHERE state NOT IN ('queued', 'sent', 'notnow',"
         " 'acknowledged', 'error', 'cancelled') ORDER BY uuid"),
    RULE("command-open-but-done", "t", "a command that waits, though its end is recorded",
         "SELECT uuid FROM commands WHERE state IN ('queued', 'sent', 'notnow') AND done_at IS NOT"
         " NULL ORDER BY uuid"),
    RULE("command-done-without-time", "t", "a command that ended, and would never be cleaned away",
         "SELECT uuid FROM commands WHERE state IN ('acknowledged', 'error', 'cancelled') AND"
         " done_at IS NULL ORDER BY uuid"),
    RULE("push-of-nobody", "t", "a push is wanted for an enrolment that is gone",
         "SELECT o.enrollment_id FROM push_outbox o WHERE NOT EXISTS (SELECT 1 FROM enrollments e"
         " WHERE e.id = o.enrollment_id) ORDER BY o.enrollment_id"),
    /* certificates */
    RULE("certificate-of-unlisted", "b", "good, though the device is not in the inventory",
         "SELECT c.serial FROM certificates c WHERE c.status = 0 AND NOT EXISTS (SELECT 1 FROM"
         " inv_devices d WHERE d.serial = c.device_serial) ORDER BY c.serial"),
    RULE("revoked-without-time", "b", "revoked without the time or the reason",
         "SELECT serial FROM certificates WHERE status <> 0 AND (revoked_at IS NULL OR reason IS"
         " NULL) ORDER BY serial"),
    RULE("good-but-revoked", "b", "good, though a time of revocation is recorded",
         "SELECT serial FROM certificates WHERE status = 0 AND revoked_at IS NOT NULL ORDER BY"
         " serial"),
    RULE("certificate-without-evidence", "b", "its evidence is named but gone",
         "SELECT c.serial FROM certificates c WHERE c.status = 0 AND c.evidence_id IS NOT NULL AND"
         " NOT EXISTS (SELECT 1 FROM evidence v WHERE v.id = c.evidence_id) ORDER BY c.serial"),
    RULE("held-by-nobody", "b",
         "on hold, though nobody holds it, or held by somebody and not on hold",
         "SELECT serial FROM certificates WHERE (status = 2 AND holders = 0) OR (status <> 2 AND"
         " holders <> 0) ORDER BY serial"),
    /* posture */
    RULE("posture-of-unlisted", "t", "posture of a device that is not in the inventory",
         "SELECT p.serial FROM posture_devices p WHERE NOT EXISTS (SELECT 1 FROM inv_devices d"
         " WHERE d.serial = p.serial) ORDER BY p.serial"),
    RULE("good-though-held", "t",
         "posture holds the device, and an access certificate of it is good",
         "SELECT p.serial FROM posture_devices p WHERE p.state IN (2, 3) AND EXISTS (SELECT 1 FROM"
         " certificates c WHERE c.device_serial = p.serial AND c.status = 0 AND c.purpose ="
         " 'access') ORDER BY p.serial"),
    /* ACME */
    RULE("order-of-nobody", "t", "an order whose account is gone",
         "SELECT o.id FROM acme_orders o WHERE NOT EXISTS (SELECT 1 FROM acme_accounts a WHERE"
         " a.id = o.account_id) ORDER BY o.id"),
    RULE("order-without-certificate", "t", "a valid order without the certificate it led to",
         "SELECT o.id FROM acme_orders o WHERE o.status = 'valid' AND NOT EXISTS (SELECT 1 FROM"
         " certificates c WHERE c.serial = o.cert_serial AND c.device_serial = o.serial) ORDER BY"
         " o.id"),
    RULE("order-without-evidence", "t", "an order that was proved, without its evidence",
         "SELECT o.id FROM acme_orders o WHERE o.status IN ('ready', 'valid') AND NOT EXISTS"
         " (SELECT 1 FROM evidence v WHERE v.id = o.evidence_id AND v.serial = o.serial) ORDER BY"
         " o.id"),
    RULE("identifier-without-order", "b", "a one-time identifier that was used by no order",
         "SELECT hash FROM client_ids WHERE consumed_at IS NOT NULL AND order_id IS NULL AND"
         " expires_at > consumed_at ORDER BY hash"),
    /* webhooks */
    RULE("webhook-without-state", "t", "an endpoint whose deliveries nobody can claim",
         "SELECT w.id FROM webhooks w WHERE NOT EXISTS (SELECT 1 FROM webhook_states s WHERE"
         " s.id = w.id) ORDER BY w.id"),
    RULE("webhook-not-told", "t", "an enabled endpoint that no event is written for",
         "SELECT w.id FROM webhooks w WHERE w.enabled = 1 AND NOT EXISTS (SELECT 1 FROM"
         " outbox_types t WHERE t.sink = w.id) ORDER BY w.id"),
    RULE("delivery-of-nothing", "t", "an event that waits to be delivered, but is gone",
         "SELECT q.event FROM outbox_queue q WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE"
         " o.id = q.event) ORDER BY q.event, q.sink"),
};

const size_t check_nrules = TD_NITEMS(check_rules);
