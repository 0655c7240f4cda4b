/* CRLs as they are published: one for each part of an issuing CA's certificates and one for all of
 * them. Kept in the database, so that every node serves the same bytes; made anew on the first
 * request after a change, or a day after the last. */
#ifndef TD_ACME_CA_CRL_H
#define TD_ACME_CA_CRL_H

#include "acme/ca/ca.h"

extern const struct store_stmts ca_crl_stmts;

#define CA_CRL_COMPLETE (-1)
#define CA_CRL_LIFE (7 * INT64_C(86400)) /* to nextUpdate */
#define CA_CRL_REFRESH (INT64_C(86400))  /* a new one without a change */
#define CA_CRL_BACKDATE 300              /* relying parties' clocks are behind */

struct ca_crl {
    int64_t number, this_update, next_update;
    struct span der; /* in the arena; empty when only the rest was asked for */
};

/* The CRL of issuing CA number i (ca_issuing_at) for a part, or CA_CRL_COMPLETE, as the database
 * says at this moment; without `with_der` its number and times alone. TD_NOTFOUND: no such part;
 * TD_BUSY or TD_TIMEOUT while the signer is away and the last one lacks a change; TD_STATE with
 * reason "crl-size" when it would list more than CRL_ENTRIES_MAX certificates. Blocks for as long
 * as another thread makes one. */
TD_NODISCARD enum td_err ca_crl_get(struct ca *ca, size_t i, int shard, bool with_der,
                                    struct arena *a, struct ca_crl *ret, struct errinfo *ei);

/* PEM of the complete CRL of every issuing CA and of the root, appended: what programs read that
 * check a whole chain against a file. */
TD_NODISCARD enum td_err ca_crl_bundle(struct ca *ca, struct arena *a, struct buf *b,
                                       struct errinfo *ei);

/* How often the status of any certificate changed: what is made of all of them compares it. */
TD_NODISCARD enum td_err ca_crl_changes(struct ca *ca, int64_t *ret, struct errinfo *ei);

/* Routes of the status and the public listener: /crl/ISSUER/FILE and /crl/FILE. ctx is the struct
 * ca. */
extern const struct route ca_crl_routes[];
extern const size_t ca_crl_nroutes;

#endif
