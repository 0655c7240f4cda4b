/* Commands an administrator may send: typed JSON for the ones in the table, raw plist for any. */
#ifndef TD_CORE_COMMAND_H
#define TD_CORE_COMMAND_H

#include "mdm/wire/json.h"
#include "mdm/wire/plist.h"

/* From {"request_type": "...", ...typed members...}: the Command dict, in the arena. Errors name
 * the member. Known: DeviceInformation {queries[], device_attestation_nonce?}, SecurityInfo,
 * ProfileList {managed_only?}, CertificateList {managed_only?}, InstallProfile {payload: base64},
 * RemoveProfile {identifier}. TD_UNSUPPORTED for other types ("send it as a raw plist"). */
TD_NODISCARD enum td_err command_from_json(const struct json *body, struct arena *a,
                                           struct plist **ret, struct errinfo *ei);

/* From a raw plist: either a Command dict or {CommandUUID?, Command}. *ret_uuid is NULL when the
 * plist names none. TD_PARSE without Command.RequestType (a non-empty string). */
TD_NODISCARD enum td_err command_from_plist(struct span body, struct arena *a, struct plist **ret,
                                            const char **ret_uuid, struct errinfo *ei);

/* The full command {CommandUUID, Command} as XML. */
TD_NODISCARD enum td_err command_xml(const struct plist *command, const char *uuid, struct arena *a,
                                     struct buf *ret, struct errinfo *ei);

#endif
