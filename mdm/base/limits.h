/* Every limit on what a peer can make us do, with its reason. LIMIT(name, value, why):
 * exported by `testudo config limits` and tested at the limit and one over. */
#ifndef TD_BASE_LIMITS_H
#define TD_BASE_LIMITS_H

#define LIMITS_TABLE(LIMIT)                                                                        \
    LIMIT(HTTP_HEADER_POOL, 65536, "an Mdm-Signature header carries a whole CMS")                  \
    LIMIT(HTTP_HEADERS, 64, "Apple's client sends about ten")                                      \
    LIMIT(HTTP_URL, 4096, "OCSP GET and SCEP GET carry a message in the path or query")            \
    LIMIT(HTTP_SEGMENTS, 8, "the deepest route has seven")                                         \
    LIMIT(HTTP_SEGMENT, 2048, "an OCSP request in the path")                                       \
    LIMIT(REQ_ARENA, 33554432, "parsed form of the largest body, with room")                       \
    LIMIT(BODY_CHECKIN, 262144, "TokenUpdate with an UnlockToken is a few KiB")                    \
    LIMIT(BODY_CONNECT, 8388608, "InstalledApplicationList of a full Mac")                         \
    LIMIT(BODY_JWS, 65536, "an attestation is about 4 KiB")                                        \
    LIMIT(BODY_OCSP, 10240, "RFC 5019 requests are under 255 bytes, chains of requests more")      \
    LIMIT(BODY_JSON, 1048576, "API bodies")                                                        \
    LIMIT(BODY_CSV, 33554432, "an inventory of 300,000 rows")                                      \
    LIMIT(BODY_PROFILE, 8388608, "raw commands with a profile inside")                             \
    LIMIT(PLIST_DEPTH, 32, "Apple's deepest payload has 12 levels")                                \
    LIMIT(PLIST_NODES, 200000, "the largest answers have some 50,000")                             \
    LIMIT(PLIST_BYTES, 16777216, "text and data of a binary list, counted at each reference")      \
    LIMIT(JSON_DEPTH, 32, "API bodies have under 6 levels")                                        \
    LIMIT(JSON_NODES, 100000, "a parsed node takes some 250 bytes, an empty object 3")             \
    LIMIT(CBOR_DEPTH, 8, "an attestation object has 4 levels")                                     \
    LIMIT(CBOR_ITEMS, 1024, "an attestation object has under 20")                                  \
    LIMIT(ATTOBJ, 32768, "two certificates, about 1.5 KiB")                                        \
    LIMIT(X5C_COUNT, 6, "Apple sends 2")                                                           \
    LIMIT(X5C_CERT, 8192, "a leaf is about 840 bytes")                                             \
    LIMIT(CSR, 8192, "an RSA-4096 request is under 2 KiB")                                         \
    LIMIT(CERT_CHAIN, 8, "certificates in a peer chain or CMS")                                    \
    LIMIT(CMS_SIGNATURE, 32768, "a detached CMS with two certificates is about 2 KiB")             \
    LIMIT(BER_DEPTH, 64, "nesting of an ASN.1 message before a parser sees it")                    \
    LIMIT(SERIAL, 64, "Apple serial numbers have up to 14 characters")                             \
    LIMIT(PAGE_MAX, 1000, "rows of one list page")                                                 \
    LIMIT(SIGNER_MSG, 65536, "one message between testudo and testudo-signer")                     \
    LIMIT(NONCES, 67108864, "ACME nonces still known: 10 minutes of 100,000 a second, 8 MiB")

enum td_limit {
#define LIMIT(name, value, why) LIMIT_##name = (value),
    LIMITS_TABLE(LIMIT)
#undef LIMIT
};

#endif
