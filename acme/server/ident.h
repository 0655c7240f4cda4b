/* The identifier of an order (draft-ietf-acme-device-attest-09 section 3). Both types carry the
 * one-time ClientIdentifier where the device's own identifier would stand: it says which device the
 * order is for, the client's word does not. */
#ifndef TD_ACME_SERVER_IDENT_H
#define TD_ACME_SERVER_IDENT_H

#include "mdm/wire/json.h"

#define ACME_IDENT_MAX 255

/* Borrowed from the payload's arena; client_id is copied there. */
struct acme_ident {
    const char *type, *value;
    const char *client_id;
};

/* permanent-identifier: ClientIdentifier, without an assigner ("identifier-assigner",
 * rejectedIdentifier: our certificates name none). hardware-module: ClientIdentifier "/" dotted
 * OID. Others: "identifier-type", unsupportedIdentifier; a value that breaks the form:
 * "payload-malformed". */
TD_NODISCARD enum td_err acme_ident_parse(const struct json *id, struct arena *a,
                                          struct acme_ident *ret, struct errinfo *ei);

/* The hwType of a valid identifier; NULL when it is no hardware-module. Borrowed from the value. */
const char *acme_ident_hw_type(const char *type, const char *value);

/* True for an object identifier in dotted form: two arcs at least, the first 0 to 2, no leading
 * zeros. */
bool acme_oid_valid(struct span s);

#endif
