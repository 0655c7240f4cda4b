/* PKCS#11 URIs (RFC 7512): what of them names a token and a key. Pure functions. */
#ifndef TD_ACME_SIGNER_P11URI_H
#define TD_ACME_SIGNER_P11URI_H

#include "mdm/base/buf.h"

#define P11URI_TEXT_MAX 64
#define P11URI_ID_MAX 64

/* Empty members were not given. */
struct p11uri {
    char token[P11URI_TEXT_MAX + 1], serial[P11URI_TEXT_MAX + 1];
    char manufacturer[P11URI_TEXT_MAX + 1], model[P11URI_TEXT_MAX + 1];
    char object[P11URI_TEXT_MAX + 1];
    uint8_t id[P11URI_ID_MAX];
    size_t nid;
};

/* TD_INVAL names what is wrong: an attribute that is unknown, given twice or too long, a bad
 * escape, a query (module and PIN are set in ca.ini, never in an URI). */
TD_NODISCARD enum td_err p11uri_parse(struct span text, struct p11uri *ret, struct errinfo *ei);

/* Appends the URI: the members that are given, escaped. */
enum td_err p11uri_put(const struct p11uri *u, struct buf *b);

#endif
