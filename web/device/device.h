/* MDM over HTTP: /mdm/checkin, /mdm/connect and the combined /mdm. */
#ifndef TD_WEB_DEVICE_DEVICE_H
#define TD_WEB_DEVICE_DEVICE_H

#include "mdm/base/route.h"
#include "mdm/core/core.h"

struct device_web {
    struct core *core;
};

extern const struct route device_routes[]; /* ctx is the struct device_web */
extern const size_t device_nroutes;

#endif
