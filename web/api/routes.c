#include "mdm/base/limits.h"
#include "web/api/api_int.h"

/* method, path below /api/v1, scope, body limit, handler, what it does */
#define ROUTE(m, p, s, max, h, text)                                                               \
    {                                                                                              \
        .methods = (m), .listeners = REQ_ON_PUBLIC, .path = "/api/v1" p, .access = ROUTE_TOKEN,    \
        .scope = (s), .body_max = (max), .fn = api_##h, .doc = (text)                              \
    }

const struct route api_routes[] = {
    ROUTE(REQ_GET, "/inventory/devices", "inventory:read", 0, inventory_list,
          "The inventory, by serial number"),
    ROUTE(REQ_POST, "/inventory/import", "inventory:write", LIMIT_BODY_CSV, inventory_import,
          "Creates and changes devices from CSV, all or none"),
    ROUTE(REQ_GET, "/inventory/devices/{serial}", "inventory:read", 0, inventory_get, "One device"),
    ROUTE(REQ_PUT, "/inventory/devices/{serial}", "inventory:write", LIMIT_BODY_JSON, inventory_put,
          "Creates or changes a device"),
    ROUTE(REQ_DELETE, "/inventory/devices/{serial}", "inventory:write", 0, inventory_delete,
          "The device leaves: its certificates are revoked in the same transaction"),
    ROUTE(REQ_POST, "/invitations", "invitations", LIMIT_BODY_JSON, invite,
          "A single-use enrolment link and its QR code"),
    ROUTE(REQ_GET, "/devices", "devices:read", 0, device_list, "Enrolments, by serial number"),
    ROUTE(REQ_GET, "/devices/{serial}", "devices:read", 0, device_get,
          "Inventory and enrolment of a device"),
    ROUTE(REQ_GET, "/devices/{serial}/certificates", "devices:read", 0, device_certificates,
          "Its certificates, newest first"),
    ROUTE(REQ_GET, "/devices/{serial}/evidence", "devices:read", 0, device_evidence,
          "What it proved, newest first"),
    ROUTE(REQ_GET, "/devices/{serial}/attempts", "devices:read", 0, device_attempts,
          "Each proof of identity it tried, with our reason and Apple's words"),
    ROUTE(REQ_GET, "/attempts", "devices:read", 0, attempts,
          "The attempts of all devices, and of those that are none of ours"),
    ROUTE(REQ_POST, "/devices/{serial}/commands", "commands:write", LIMIT_BODY_PROFILE, command_add,
          "Queues a command: typed JSON or a raw plist"),
    ROUTE(REQ_GET, "/devices/{serial}/commands", "commands:read", 0, command_list,
          "Its commands, newest first"),
    ROUTE(REQ_GET, "/devices/{serial}/commands/{uuid}", "commands:read", 0, command_get,
          "A command and its result"),
    ROUTE(REQ_POST, "/devices/{serial}/hold", "certificates:write", LIMIT_BODY_JSON, device_hold,
          "Quarantine: its access certificates go on hold, those to come too"),
    ROUTE(REQ_POST, "/devices/{serial}/release", "certificates:write", LIMIT_BODY_JSON,
          device_release, "The end of it: they are good again"),
    ROUTE(REQ_GET, "/certificates", "certificates:read", 0, certificate_list,
          "Certificates by serial number; ?device= ?status="),
    ROUTE(REQ_GET, "/certificates/{serial}", "certificates:read", 0, certificate_get,
          "One certificate"),
    ROUTE(REQ_POST, "/certificates/{serial}/revoke", "certificates:write", LIMIT_BODY_JSON,
          certificate_revoke, "Revokes it, for a reason of RFC 5280"),
    ROUTE(REQ_POST, "/certificates/{serial}/hold", "certificates:write", LIMIT_BODY_JSON,
          certificate_hold, "Puts it on hold: certificateHold in OCSP and CRL"),
    ROUTE(REQ_POST, "/certificates/{serial}/release", "certificates:write", LIMIT_BODY_JSON,
          certificate_release, "Takes it off hold: good again"),
    ROUTE(REQ_GET, "/ca", "devices:read", 0, ca, "Our CA and the attestation roots we trust"),
    ROUTE(REQ_POST, "/tokens", "tokens", LIMIT_BODY_JSON, token_add, "A token, shown once"),
    ROUTE(REQ_GET, "/tokens", "tokens", 0, token_list, "Tokens, without their texts"),
    ROUTE(REQ_DELETE, "/tokens/{id}", "tokens", 0, token_delete, "Ends a token"),
    ROUTE(REQ_POST, "/eab-keys", "eab", LIMIT_BODY_JSON, eab_add,
          "A key for external account binding of ACME accounts, its secret shown once"),
    ROUTE(REQ_GET, "/eab-keys", "eab", 0, eab_list, "The keys, without their secrets"),
    ROUTE(REQ_DELETE, "/eab-keys/{id}", "eab", 0, eab_delete,
          "Ends a key and deactivates the account that it bound"),
    ROUTE(REQ_GET, "/audit", "audit:read", 0, audit, "The audit trail, newest first"),
};
const size_t api_nroutes = TD_NITEMS(api_routes);
