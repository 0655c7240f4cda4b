/* Strict DER (X.690 section 10), read and written. Internal to mdm/crypt.
 *
 * Reading: every function borrows from its input; false means not well-formed or not what was
 * asked for, and the cursor is then of no use. Writing goes forward into a struct buf, whose sticky
 * error is checked once at the end. */
#ifndef TD_CRYPT_DER_INT_H
#define TD_CRYPT_DER_INT_H

#include "mdm/base/buf.h"

enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_ENUMERATED = 0x0a,
    DER_UTF8_STRING = 0x0c,
    DER_PRINTABLE_STRING = 0x13,
    DER_IA5_STRING = 0x16,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31
};

#define DER_CTX(n) ((uint8_t)(0x80 | (n)))      /* context-specific, primitive */
#define DER_CTX_CONS(n) ((uint8_t)(0xa0 | (n))) /* context-specific, constructed */
#define DER_OID_MAX 64

struct der_item {
    uint8_t tag;
    struct span val; /* content octets */
    struct span raw; /* with tag and length */
};

/* The next value of any tag (low tag numbers only); moves the cursor behind it. */
bool der_next(struct span *in, struct der_item *ret);

/* The next value, which must have this tag: its content, or its whole encoding. */
bool der_get(struct span *in, uint8_t tag, struct span *ret_val);
bool der_get_raw(struct span *in, uint8_t tag, struct span *ret_raw);

/* True when the next value has this tag. */
bool der_peek(struct span in, uint8_t tag);

/* One value over exactly the input, every nested value DER too, at most LIMIT_BER_DEPTH deep. */
bool der_well_formed(struct span s);

/* Content of an INTEGER: not empty, no superfluous leading octet. */
bool der_int_ok(struct span val);

/* Content of a BIT STRING of whole octets, without the octet that counts unused bits. */
bool der_bits(struct span val, struct span *ret);

/* A Time of RFC 5280 section 4.1.2.5 (UTCTime or GeneralizedTime, seconds, Z) in seconds since
 * 1970. */
bool der_time(const struct der_item *it, int64_t *ret);

/* Content octets of a dotted OID; returns their number, 0 when the text is none or too long. */
size_t der_oid_text(const char *dotted, uint8_t out[static DER_OID_MAX]);

/* Well-formed UTF-8 without NUL. */
bool der_utf8_ok(struct span s);

/* --- writing --- */

/* Opens a value: writes its tag and returns the mark for der_close, which puts the length in. */
size_t der_open(struct buf *b, uint8_t tag);
void der_close(struct buf *b, size_t mark);

void der_put(struct buf *b, uint8_t tag, struct span val);
/* An INTEGER from big-endian octets taken as unsigned. */
void der_put_uint(struct buf *b, struct span be);
/* A BIT STRING of whole octets. */
void der_put_bits(struct buf *b, struct span val);
/* UTCTime through 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5). */
void der_put_time(struct buf *b, int64_t t);
/* Always GeneralizedTime (OCSP). */
void der_put_gentime(struct buf *b, uint8_t tag, int64_t t);

#endif
