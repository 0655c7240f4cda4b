/* A push service that only records: the default until a push certificate is configured. */
#ifndef TD_APNS_RECORD_H
#define TD_APNS_RECORD_H

#include "mdm/core/push.h"

/* Ops that log each push and take it (the pump counts them, testudo_pushes_total). No context; any
 * thread. TD_INVAL for a target without token or magic. */
struct push_ops record_push_ops(void);

#endif
