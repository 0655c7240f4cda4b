/* Small secrets that have to lie in the database as they are (MAC keys, not passwords), sealed with
 * a key that does not: who has the database or a backup alone has none of them.
 *
 * AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits. A sealed secret is
 *     1 version (1), 8 key id, 12 nonce, n ciphertext, 16 tag
 * and the tag also covers version, key id, purpose and row: one that was moved to another row or
 * column does not open. One key seals 2^32 secrets at most.
 *
 * The key file has one key a line, 32 bytes in the URL alphabet of base64, the newest first; lines
 * with # and empty ones count nothing. The first key seals, each opens. A key's id is the start of
 * its SHA-256. A struct seal is immutable; any thread. */
#ifndef TD_CRYPT_SEAL_H
#define TD_CRYPT_SEAL_H

#include "mdm/base/arena.h"
#include "mdm/base/rng.h"
#include "mdm/base/secret.h"

#define SEAL_KEY 32
#define SEAL_ID 8
#define SEAL_KEYS_MAX 16
#define SEAL_FILE_MAX 8192
#define SEAL_MAX 4096    /* bytes of a secret */
#define SEAL_OVERHEAD 37 /* what a sealed one is longer */
#define SEAL_PURPOSE_MAX 64
#define SEAL_ROW_MAX 256

struct seal;

/* What a secret is for: the name of the kind (a constant without NUL) and the key of its row. */
struct seal_place {
    const char *purpose;
    struct span row;
};

/* The keys of a file's text. TD_PARSE when a line is no key, TD_EXISTS when two are the same,
 * TD_LIMIT when there are too many, TD_INVAL when there is none. */
TD_NODISCARD enum td_err seal_parse(struct span text, struct seal **ret, struct errinfo *ei);

/* Of a file; TD_NOTFOUND, and TD_FORBIDDEN when others than the owner may read it. */
TD_NODISCARD enum td_err seal_load(const char *path, struct seal **ret, struct errinfo *ei);

/* A new file (0600) with one new key; TD_EXISTS, and the file as it was, when there is one. */
TD_NODISCARD enum td_err seal_create(const char *path, struct rng *rng, struct errinfo *ei);

void seal_free(struct seal *s); /* NULL is fine */
void seal_auto_free(struct seal **s);
#define seal_auto __attribute__((cleanup(seal_auto_free))) struct seal

/* The id of key i, 0 the newest; the empty span behind the last. Borrowed. */
struct span seal_key_id(const struct seal *s, size_t i);
bool seal_has_key(const struct seal *s, struct span id);

/* Seals 1 to SEAL_MAX bytes; *ret lives in the arena. TD_INVAL for none, TD_LIMIT for more. Call it
 * outside of a job: the row's key and the nonce stay the same when a job runs again. */
TD_NODISCARD enum td_err seal_wrap(const struct seal *s, const struct seal_place *at,
                                   struct span secret, struct rng *rng, struct arena *a,
                                   struct span *ret, struct errinfo *ei);

/* Opens; the caller frees *ret. TD_DB with reason "seal-malformed" for what is no sealed secret,
 * "seal-key-unknown" when the file lacks its key, "seal-broken" when it was changed or is of
 * another place. These are faults of ours or of whoever has his hands in the database, never a
 * client's. */
TD_NODISCARD enum td_err seal_open(const struct seal *s, const struct seal_place *at,
                                   struct span sealed, struct secret *ret, struct errinfo *ei);

/* Whether the newest key sealed it. */
bool seal_is_current(const struct seal *s, struct span sealed);

#endif
