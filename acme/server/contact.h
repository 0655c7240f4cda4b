/* Contacts of an account (RFC 8555 section 7.3): mail addresses, kept for the administrator. */
#ifndef TD_ACME_SERVER_CONTACT_H
#define TD_ACME_SERVER_CONTACT_H

#include "mdm/wire/json.h"

#define ACME_CONTACTS 8      /* in one account */
#define ACME_CONTACT_MAX 320 /* bytes of one URL */

/* The member "contact" of a payload as the text of a JSON array, in the arena; *ret is untouched
 * when there is none. Refusals: "unsupportedContact" for another scheme than mailto,
 * "invalidContact" for one that is not exactly one address, "malformed" for what is no list of
 * texts or too long. */
TD_NODISCARD enum td_err acme_contact_read(const struct json *payload, struct arena *a,
                                           const char **ret, struct errinfo *ei);

#endif
