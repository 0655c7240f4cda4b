/* Accounts (RFC 8555 sections 7.1.2, 7.3): Apple's client makes one for each certificate, others
 * keep theirs. */
#ifndef TD_ACME_SERVER_ACCOUNT_H
#define TD_ACME_SERVER_ACCOUNT_H

#include "acme/server/server_int.h"

/* Handler: POST /acme/acct/{id}: POST-as-GET, contacts, deactivation. */
enum td_err acme_account(const struct req *r, struct resp *resp, struct errinfo *ei);

/* The account of a request, as stored. Strings live in the arena it was read into. */
struct acme_account {
    const char *id, *jwk, *contact; /* contact: a JSON array */
    const char *eab_key;            /* NULL when not bound */
    const char *eab_profile;        /* the only one that key is for, or "" */
    uint8_t thumbprint[SHA256_SIZE];
    bool valid, terms_agreed;
};

/* Reads one, whatever its state; TD_NOTFOUND "account-unknown". */
TD_NODISCARD enum td_err acme_account_get(struct tx *tx, const char *id, struct arena *a,
                                          struct acme_account *ret, struct errinfo *ei);

/* The same by the thumbprint of its key. */
TD_NODISCARD enum td_err acme_account_by_key(struct tx *tx,
                                             const uint8_t thumbprint[static SHA256_SIZE],
                                             struct arena *a, struct acme_account *ret,
                                             struct errinfo *ei);

/* The key of c->account_id, from the cache (unless `fresh`) or the database; owned. TD_NOTFOUND. */
struct acme_key {
    struct key *key;
    uint8_t thumbprint[SHA256_SIZE];
    bool cached;
};
void acme_key_auto_free(struct acme_key *k);
#define acme_key_auto __attribute__((cleanup(acme_key_auto_free))) struct acme_key
TD_NODISCARD enum td_err acme_account_key(const struct acme_call *c, bool fresh,
                                          struct acme_key *ret, struct errinfo *ei);

/* TD_OK when the request's account stands in this transaction, with the key that the request was
 * verified with; TD_NOTFOUND "account-unknown", TD_FORBIDDEN "account-deactivated" or
 * "account-key-changed". *ret (may be NULL) is the account. */
TD_NODISCARD enum td_err acme_account_check(struct tx *tx, const struct acme_call *c,
                                            struct acme_account *ret, struct errinfo *ei);

/* The verdict on status and key as stored. */
TD_NODISCARD enum td_err acme_account_judge(const struct acme_call *c, struct span status,
                                            struct span thumbprint, struct errinfo *ei);

/* The account object as the answer, with its Location. */
TD_NODISCARD enum td_err acme_account_reply(struct acme_call *c, int status,
                                            const struct acme_account *acct, struct errinfo *ei);

#endif
