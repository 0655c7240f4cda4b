/* Waking a device: ops implemented by apns/. Core never includes apns. */
#ifndef TD_CORE_PUSH_H
#define TD_CORE_PUSH_H

#include "mdm/base/err.h"
#include "mdm/base/span.h"

struct push_target {
    const char *enrollment_id, *topic, *push_magic;
    struct span token;
};

struct push_ops {
    void *ctx;
    /* TD_OK: the service took it. TD_GONE: the token is dead. Else: try later. */
    enum td_err (*send)(void *ctx, const struct push_target *t, struct errinfo *ei);
};

#endif
