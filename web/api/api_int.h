/* The handlers of the API, by noun; the table that names them is routes.c. */
#ifndef TD_WEB_API_INT_H
#define TD_WEB_API_INT_H

#include "web/api/api.h"

#define API_HANDLER(name)                                                                          \
    enum td_err api_##name(const struct req *req, struct resp *resp, struct errinfo *ei)

API_HANDLER(inventory_get);
API_HANDLER(inventory_put);
API_HANDLER(inventory_delete);
API_HANDLER(inventory_list);
API_HANDLER(inventory_import);
API_HANDLER(invite);
API_HANDLER(device_list);
API_HANDLER(device_get);
API_HANDLER(device_certificates);
API_HANDLER(device_evidence);
API_HANDLER(device_attempts);
API_HANDLER(attempts);
API_HANDLER(command_add);
API_HANDLER(command_list);
API_HANDLER(command_get);
API_HANDLER(device_hold);
API_HANDLER(device_release);
API_HANDLER(certificate_list);
API_HANDLER(certificate_get);
API_HANDLER(certificate_revoke);
API_HANDLER(certificate_hold);
API_HANDLER(certificate_release);
API_HANDLER(ca);
API_HANDLER(access_list);
API_HANDLER(access_assign);
API_HANDLER(access_remove);
API_HANDLER(profile_list);
API_HANDLER(profile_get);
API_HANDLER(profile_policy);
API_HANDLER(token_add);
API_HANDLER(token_list);
API_HANDLER(token_delete);
API_HANDLER(eab_add);
API_HANDLER(eab_list);
API_HANDLER(eab_delete);
API_HANDLER(webhook_add);
API_HANDLER(webhook_list);
API_HANDLER(webhook_get);
API_HANDLER(webhook_put);
API_HANDLER(webhook_delete);
API_HANDLER(webhook_secret);
API_HANDLER(webhook_test);
API_HANDLER(posture_facts);
API_HANDLER(posture_rules);
API_HANDLER(posture_rule_get);
API_HANDLER(posture_rule_put);
API_HANDLER(posture_rule_delete);
API_HANDLER(posture_rule_devices);
API_HANDLER(posture_devices);
API_HANDLER(posture_device);
API_HANDLER(posture_refresh);
API_HANDLER(posture_exempt);
API_HANDLER(posture_unexempt);
API_HANDLER(fact_put);
API_HANDLER(fact_delete);
API_HANDLER(audit);
API_HANDLER(openapi);

#endif
