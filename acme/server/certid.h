/* Certificate identifiers of ACME renewal information (RFC 9773 section 4.1): the issuer's key
 * identifier and the serial number, in base64url, with a dot between. */
#ifndef TD_ACME_SERVER_CERTID_H
#define TD_ACME_SERVER_CERTID_H

#include "acme/ca/ca.h"

#define ACME_AKI_MAX 64
#define ACME_SERIAL_MAX 21 /* RFC 5280 section 4.1.2.2, and the sign's octet */

/* TD_PARSE for anything but two strict base64url texts of allowed sizes and one dot. */
TD_NODISCARD enum td_err acme_certid_parse(struct span text, struct arena *a, struct span *ret_aki,
                                           struct span *ret_serial);

/* The certificate of ours that the text names; TD_NOTFOUND when there is none, also when the issuer
 * is another. */
TD_NODISCARD enum td_err acme_certid_find(struct tx *tx, struct span text, struct arena *a,
                                          struct ca_record *ret, struct errinfo *ei);

/* The keyIdentifier of an AuthorityKeyIdentifier extension's value; empty when there is none. */
struct span acme_aki_keyid(struct span ext);

#endif
