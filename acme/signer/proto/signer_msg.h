/* The messages between testudo and testudo-signer, one per datagram of a SOCK_SEQPACKET pair.
 *
 * Typed and closed: a message that is not in this list does not exist, so there is nothing to ask
 * the signer for "a signature over these bytes". Header: version, type, generation, id; then the
 * body of that type. Integers are big-endian, byte strings carry a 16-bit length. One encoding per
 * message: decoding refuses trailing bytes and every value encoding would not write. */
#ifndef TD_ACME_SIGNER_PROTO_SIGNER_MSG_H
#define TD_ACME_SIGNER_PROTO_SIGNER_MSG_H

#include "acme/signer/proto/profile_fact.h"
#include "mdm/base/buf.h"
#include "mdm/crypt/crl.h"
#include "mdm/crypt/ocsp.h"

/* Counts up whenever a message changes. */
#define SIGNER_MSG_VERSION 4
#define SIGNER_MSG_HEAD_SIZE 14
#define SIGNER_MSG_NONCE_MAX 128 /* RFC 9654 section 2.1 */
#define SIGNER_MSG_SPKI_MAX 2048 /* an RSA-4096 key has 550 bytes */
#define SIGNER_MSG_CERTID_MAX 256
#define SIGNER_MSG_TEXT_MAX 255
#define SIGNER_MSG_ISSUER_SIZE                                                                     \
    20                           /* subject key identifier of an issuing CA, its name everywhere   \
                                  */
#define SIGNER_MSG_ISSUERS_MAX 8 /* the active one and those whose certificates still live */

enum signer_msg_type {
    SIGNER_MSG_HELLO = 1, /* worker: ready, these are the certificates */
    SIGNER_MSG_FATAL = 2, /* worker: cannot start, and why */
    SIGNER_MSG_GONE = 3,  /* supervisor: the worker of this generation died */
    SIGNER_MSG_ISSUE = 4,
    SIGNER_MSG_OCSP = 5,
    SIGNER_MSG_SIGNED = 6,  /* the answer to ISSUE, OCSP or CRL */
    SIGNER_MSG_REFUSED = 7, /* the other answer */
    SIGNER_MSG_CRL = 8,     /* a CRL, or a part of its entries */
    SIGNER_MSG_MORE = 9,    /* the answer to a CRL that lacks entries yet */
    SIGNER_MSG_RELOAD = 10, /* to the worker: have another read the directory anew */
    SIGNER_MSG_READY = 11,  /* from the other: keys are read, the place of the first is awaited */
    SIGNER_MSG_LEAVE = 12,  /* to the first worker: nothing is under way, go */
    SIGNER_MSG_RESPONDER = 13, /* worker: an OCSP responder was renewed */
    SIGNER_MSG_TYPE_MAX
};

/* DER certificates of an issuing CA and of its OCSP responder. */
struct signer_msg_issuer {
    struct span cert, responder;
};

struct signer_msg_hello {
    struct span root;
    struct signer_msg_issuer issuers[SIGNER_MSG_ISSUERS_MAX]; /* the active one first */
    size_t n;                                                 /* 1..SIGNER_MSG_ISSUERS_MAX */
    struct span root_crl;                                     /* DER, empty when there is none */
    struct span crl_url; /* what a CRL's distribution point begins with, empty for none */
    uint32_t crl_shards; /* 1..SIGNER_MSG_SHARDS_MAX */
};

/* RELOAD, READY and LEAVE: a new issuing CA without a request lost. The worker that serves asks its
 * supervisor for another, which reads the directory beside it. testudo holds new requests back from
 * READY on, waits for the answers it is owed, sends LEAVE; the other says HELLO. When the directory
 * is not right the other says FATAL in place of READY, and nothing changes. None is answered. */

struct signer_msg_issue {
    struct span profile, device_serial, spki;
    uint8_t evidence_sha256[SHA256_SIZE];
    struct profile_facts facts; /* what templates may name */
};

struct signer_msg_ocsp {
    uint8_t issuer[SIGNER_MSG_ISSUER_SIZE]; /* the CA whose responder is to sign */
    struct ocsp_single singles[OCSP_IDS_MAX];
    size_t n; /* 1..OCSP_IDS_MAX */
    struct span nonce;
};

struct signer_msg_signed {
    uint8_t issuer[SIGNER_MSG_ISSUER_SIZE]; /* the CA that signed, or whose responder did */
    struct span der;                        /* of a CRL the signature alone */
};

#define SIGNER_MSG_CRL_STEP 2000 /* entries that fit a message */
#define SIGNER_MSG_SHARDS_MAX 1024
#define SIGNER_MSG_CRL_COMPLETE (-1) /* the shard of a CRL of all certificates */

/* The answer is the signature over the TBSCertList that crl_tbs makes of this; both ends make it.
 */
struct signer_msg_crl {
    uint8_t issuer[SIGNER_MSG_ISSUER_SIZE];
    int shard; /* SIGNER_MSG_CRL_COMPLETE or 0..SIGNER_MSG_SHARDS_MAX - 1 */
    uint64_t number;
    int64_t this_update, next_update;
    uint32_t total, first;           /* entries of the whole CRL; number of the first one here */
    size_t n;                        /* entries here, 0..SIGNER_MSG_CRL_STEP */
    const struct crl_entry *entries; /* to encode; NULL: `raw` as it was decoded */
    struct span raw;                 /* decoded: for signer_msg_crl_next */
};

struct signer_msg_responder {
    uint8_t issuer[SIGNER_MSG_ISSUER_SIZE]; /* the CA whose it is */
    int64_t not_after;                      /* of the certificate whose key signs now */
};

struct signer_msg_refused {
    enum td_err code; /* never TD_OK */
    struct span reason, text;
};

/* A message; spans are borrowed from what it was decoded from. `generation` is the number of the
 * worker it comes from or is meant for: a request for an earlier worker is not answered by a later
 * one, as its sender was told that it failed. */
struct signer_msg {
    enum signer_msg_type type;
    uint32_t generation;
    uint64_t id;
    union {
        struct signer_msg_hello hello;
        struct signer_msg_issue issue;
        struct signer_msg_ocsp ocsp;
        struct signer_msg_refused refused; /* of FATAL too */
        struct signer_msg_signed signed_;
        struct signer_msg_crl crl;
        struct signer_msg_responder responder;
    } u;
};

/* Appends the encoding. TD_INVAL when a field is outside what the type allows, TD_LIMIT as buf. */
TD_NODISCARD enum td_err signer_msg_put(struct buf *b, const struct signer_msg *m);

/* Decodes exactly one message. TD_PARSE: truncated, trailing bytes or a value out of range;
 * TD_UNSUPPORTED: unknown version or type; TD_LIMIT: over LIMIT_SIGNER_MSG. On TD_UNSUPPORTED and
 * on an error behind the header, generation and id of *ret are filled, so that the sender can be
 * told; signer_msg_has_head says whether they are. */
TD_NODISCARD enum td_err signer_msg_get(struct span s, struct signer_msg *ret);

/* Whether the bytes are long enough for a header. */
bool signer_msg_has_head(struct span s);

/* The next entry of a decoded CRL's `raw`; false at its end. */
bool signer_msg_crl_next(struct span *raw, struct crl_entry *ret);

/* Which part of its CA's CRL a certificate belongs to: the low bits of its serial number. */
unsigned signer_msg_crl_shard(struct span serial, unsigned shards);

#define SIGNER_MSG_URI_SIZE 256

/* The distribution point of a shard, the same text in certificate and CRL: URL/ISSUER/SHARD.crl.
 * False without a URL, or when it is too long. */
bool signer_msg_crl_uri(struct span url, const char *issuer_hex, unsigned shard,
                        char out[static SIGNER_MSG_URI_SIZE]);

/* Fills *m as a refusal of request `id`: the code, reason and text of *ei (borrowed). */
void signer_msg_refusal(struct signer_msg *m, uint64_t id, enum td_err e, const struct errinfo *ei);

#endif
