/* The inventory file: CSV (RFC 4180) with a header row. */
#ifndef TD_SIM_CSV_H
#define TD_SIM_CSV_H

#include "mdm/base/arena.h"
#include "mdm/base/err.h"

struct csv_device {
    const char *serial, *model; /* in the arena; model may be "" */
};

/* Reads the columns "serial" and "model" (may be absent). TD_PARSE names the line. */
enum td_err csv_devices(struct span text, struct arena *a, struct csv_device **ret, size_t *ret_n,
                        struct errinfo *ei);

#endif
