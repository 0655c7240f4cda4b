/* How many certificates there are, by state and purpose, and how many wait for their renewal:
 * counted in steps over the primary key, so that neither a scrape nor a transaction walks the
 * table. */
#ifndef TD_ACME_CA_CENSUS_H
#define TD_ACME_CA_CENSUS_H

#include "acme/ca/revoke.h"
#include "mdm/store/store.h"

extern const struct store_stmts ca_census_stmts;

/* Behind those of enum ca_state. */
#define CENSUS_EXPIRED (CA_HELD + 1)
#define CENSUS_STATES (CENSUS_EXPIRED + 1)
enum ca_census_purpose { CENSUS_MANAGEMENT, CENSUS_ACCESS, CENSUS_PURPOSES };

/* A count under way: begin with zeros. */
struct ca_census {
    int64_t n[CENSUS_STATES]
             [CENSUS_PURPOSES]; /* one that ended is expired, whatever it was before */
    int64_t due;                /* to be renewed, the device is not told yet */
    int64_t waiting;            /* told, and nothing came of it yet */
    uint8_t after[64];          /* serial number counted last */
    size_t nafter;
    bool done;
};

/* Counts the next `max` certificates. Many steps see many moments: the sum is of none of them. */
TD_NODISCARD enum td_err ca_census_step(struct tx *tx, int64_t now, size_t max, struct ca_census *c,
                                        struct errinfo *ei);

#endif
