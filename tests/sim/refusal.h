/* What a server said when it refused: kept for the summary and for the fault checks. */
#ifndef TD_SIM_REFUSAL_H
#define TD_SIM_REFUSAL_H

#include "mdm/wire/json.h"
#include "tests/sim/httpread.h"

struct refusal {
    const char *step; /* "acme newOrder", static; NULL: nothing was refused */
    int status;       /* HTTP status, 0 when no answer arrived */
    char type[96];    /* problem type without the ACME prefix, "" when none */
    char detail[200];
};

/* Fills *r from an answer that is no success and returns TD_FORBIDDEN with the whole as message. */
enum td_err refusal_set(struct refusal *r, const char *step, const struct httpread_resp *resp,
                        struct errinfo *ei);

/* As refusal_set for an ACME error object inside a 200 ("error" of a challenge or an order). */
enum td_err refusal_object(struct refusal *r, const char *step, const struct json *error,
                           struct errinfo *ei);

/* For an answer that is a success but not what the protocol asks for. */
enum td_err refusal_text(struct refusal *r, const char *step, int status, const char *detail,
                         struct errinfo *ei);

/* For a request that got no answer: keeps `e` and puts the step in front of the message. */
enum td_err refusal_none(struct refusal *r, const char *step, enum td_err e, struct errinfo *ei);

#endif
