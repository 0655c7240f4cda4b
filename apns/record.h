/* A push service that only records: the default until a push certificate is configured. */
#ifndef TD_APNS_RECORD_H
#define TD_APNS_RECORD_H

#include "mdm/core/push.h"

/* Ops that count and log each push and take it. */
struct push_ops record_push_ops(void);

#endif
