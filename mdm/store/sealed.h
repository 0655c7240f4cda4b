/* The columns whose secrets are sealed (mdm/crypt/seal.h), and the keys that may be in use.
 *
 * The database knows the ids of the keys, not the keys: a node that lacks one is told so when it
 * starts, and not when a device needs a secret that it cannot open. */
#ifndef TD_STORE_SEALED_H
#define TD_STORE_SEALED_H

#include "mdm/crypt/seal.h"
#include "mdm/store/store.h"

extern const struct store_stmts sealed_stmts;

/* Loads the key file, makes it when there is none and the database knows no key yet, and notes that
 * its newest key is in use. TD_STATE when the file lacks a key that is. */
TD_NODISCARD enum td_err sealed_open(struct store *s, const char *path, const struct clock *clock,
                                     struct seal **ret, struct errinfo *ei);

/* One column; the row's key is text. */
struct sealed_column {
    const char *purpose;
    size_t clear; /* size of a secret of before it was sealed, which no sealed one has; 0: none */
    /* The id and the secret of at most ?2 rows behind id ?1, by id ("ti", "tb"); and the secret of
     * row ?1 from ?2 to ?3, if it is ?2 still ("tbb"). */
    const struct store_stmt *page, *put;
};

/* What a walk did. */
struct sealed_count {
    int64_t renewed, broken;
};

/* Seals what lies in clear or under an older key with the newest one, in small steps; a server may
 * be at work. What does not open stays, and is counted in `broken`. Adds to *count. */
TD_NODISCARD enum td_err sealed_renew(struct store *s, const struct seal *seal,
                                      const struct sealed_column *c, struct rng *rng,
                                      struct sealed_count *count, struct errinfo *ei);

/* Behind a walk over every column that found nothing broken: the older keys of the file are in use
 * no more. */
TD_NODISCARD enum td_err sealed_forget(struct store *s, const struct seal *seal,
                                       struct errinfo *ei);

#endif
