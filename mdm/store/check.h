/* Looks a database over without changing it: what the engine itself finds, and what must hold
 * between the rows of ours whatever happened. */
#ifndef TD_STORE_CHECK_H
#define TD_STORE_CHECK_H

#include "mdm/store/store.h"

/* One rule of ours. The query gives the key of each row that breaks it, at most ?1 of them. */
struct check_rule {
    const char *name; /* "command-of-nobody" */
    const char *doc;  /* what such a row means */
    struct store_stmt stmt;
};

extern const struct check_rule check_rules[];
extern const size_t check_nrules;

/* A row that breaks a rule: its key, or the engine's words. */
struct check_finding {
    const char *rule, *doc, *what;
    bool more; /* there are more, which are not reported */
};

struct check_conf {
    unsigned most; /* findings of one rule that are reported */
    void (*fn)(void *ctx, const struct check_finding *f);
    void (*note)(void *ctx, const char *what); /* what could not be looked at, and why */
    void *ctx;
};

/* Runs every rule in one snapshot, and then looks into each index; a server may be at work.
 * *ret_rules and *ret_findings count what was looked at and reported. TD_NOTFOUND when there is no
 * database; TD_STATE when it is not ours, an unfinished copy, or of another schema version than
 * this program's. */
TD_NODISCARD enum td_err store_check(const struct store_conf *conf, const struct check_conf *check,
                                     size_t *ret_rules, size_t *ret_findings, struct errinfo *ei);

#endif
