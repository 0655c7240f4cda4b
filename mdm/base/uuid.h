/* UUIDs as text. */
#ifndef TD_BASE_UUID_H
#define TD_BASE_UUID_H

#include "mdm/base/rng.h"
#include "mdm/base/span.h"

#define UUID_SIZE 37

/* A random UUID (RFC 9562 version 4) in upper case, as Apple writes them. */
void uuid_new(struct rng *r, char out[static UUID_SIZE]);

/* True for 8-4-4-4-12 hexadecimal digits. */
bool uuid_valid(struct span s);

#endif
