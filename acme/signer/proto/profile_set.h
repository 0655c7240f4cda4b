/* All certificate profiles of a CA directory: the built-in ones and those in profiles/. */
#ifndef TD_ACME_SIGNER_PROTO_PROFILE_SET_H
#define TD_ACME_SIGNER_PROTO_PROFILE_SET_H

#include "acme/signer/proto/profile_conf.h"

#define PROFILE_SET_MAX 64

struct profile_set {
    struct arena arena;
    struct profile_conf all[PROFILE_SET_MAX]; /* by name */
    size_t n;
};

/* Reads DIR/profiles/NAME.ini, every one of them; a file takes the place of the built-in profile of
 * its name. No folder is no file. Any file that is wrong, or can be written by others, is an error
 * that names it. */
TD_NODISCARD enum td_err profile_set_load(const char *dir, struct profile_set *ret,
                                          struct errinfo *ei);
void profile_set_free(struct profile_set *s);

const struct profile_conf *profile_set_find(const struct profile_set *s, struct span name);

#endif
