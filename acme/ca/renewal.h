/* Which certificates are due to be renewed, and which replaced ones are to end. All state is in the
 * certificates' rows: any number of nodes may look, one claims. */
#ifndef TD_ACME_CA_RENEWAL_H
#define TD_ACME_CA_RENEWAL_H

#include "acme/ca/ca.h"

extern const struct store_stmts ca_renewal_stmts;

/* A certificate that is due. Strings and spans live in the arena. */
struct ca_due {
    struct span serial;
    const char *device_serial, *profile;
    bool access; /* purpose */
    uint8_t sha256[SHA256_SIZE];
    bool good; /* not revoked; it may be on hold */
    int64_t not_after, renew_at, tries;
    const char *command; /* CommandUUID of the last try, NULL before the first */
};

/* The first `max` due at `now`, by their time. */
TD_NODISCARD enum td_err ca_renewal_due(struct tx *tx, int64_t now, size_t max, struct arena *a,
                                        struct ca_due *ret, size_t *ret_n, struct errinfo *ei);

/* Claims one for a try: from then on it is due again at `next`, unless it is done by then. The
 * marker is written before the command is queued, in the same transaction. TD_AGAIN when another
 * node was faster. command may be NULL: nothing was sent, look again later. */
TD_NODISCARD enum td_err ca_renewal_claim(struct tx *tx, const struct ca_due *d, int64_t next,
                                          const char *command, struct errinfo *ei);

/* It needs no renewal any more; retire_at: when it is to be revoked, 0 for never. TD_AGAIN as
 * above. */
TD_NODISCARD enum td_err ca_renewal_done(struct tx *tx, const struct ca_due *d, int64_t retire_at,
                                         struct errinfo *ei);

/* Whether a good certificate exists that was issued to take its place. */
TD_NODISCARD enum td_err ca_renewal_successor(struct tx *tx, const struct ca_due *d, bool *ret,
                                              struct errinfo *ei);

/* Whether the device has a good certificate of that profile, and which: the newest. */
TD_NODISCARD enum td_err ca_renewal_newest(struct tx *tx, const char *device_serial,
                                           const char *profile, struct arena *a, struct span *ret,
                                           struct errinfo *ei);

/* A client of its own accord got a certificate that takes the place of this one. An access
 * certificate is retired at that time, or its end if that is sooner, and not renewed any more; a
 * management certificate when the new one is used first (ca_renewal_used). */
TD_NODISCARD enum td_err ca_renewal_replaced(struct tx *tx, struct span serial, int64_t retire_at,
                                             struct errinfo *ei);

/* Revokes (superseded) at most `max` that are to be retired at `now`. */
TD_NODISCARD enum td_err ca_renewal_retire(struct tx *tx, int64_t now, size_t max,
                                           int64_t *ret_count, struct errinfo *ei);

/* The renewed certificate was used: ends the old one, and all others that were issued to take its
 * place but this. */
TD_NODISCARD enum td_err ca_renewal_used(struct tx *tx, const uint8_t old[static SHA256_SIZE],
                                         const uint8_t renewed[static SHA256_SIZE], int64_t now,
                                         const char *txn, int64_t *ret_count, struct errinfo *ei);

/* Revokes every good certificate of that device and profile; *why as for ca_revoke_device. */
TD_NODISCARD enum td_err ca_renewal_end(struct tx *tx, const char *device_serial,
                                        const char *profile, const struct ca_change *why,
                                        int64_t *ret_count, struct errinfo *ei);

/* Seconds until the next try: `first` doubled for each one there was, at most a day. */
int64_t ca_renewal_wait(int64_t first, int64_t tries);

#endif
