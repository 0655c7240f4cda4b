/* How an error becomes an answer where the route says nothing else: RFC 9457. */
#ifndef TD_WEB_HTTP_PROBLEM_H
#define TD_WEB_HTTP_PROBLEM_H

#include "mdm/base/err.h"
#include "mdm/base/req.h"

/* The HTTP status of an error: the detail's override or the table's. Always 400 to 599. */
int http_status_of(enum td_err e, const struct errinfo *ei);

/* Makes *resp the answer to an error: status, application/problem+json with type, title, status,
 * detail, reason (when there is one) and instance (the request id). A status of 500 and more tells
 * nothing of the inside. A route_problem_fn. */
void http_problem(const struct req *req, struct resp *resp, enum td_err e,
                  const struct errinfo *ei);

#endif
