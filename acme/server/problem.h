/* Errors as RFC 8555 section 6.7 wants them, and the headers every answer carries. */
#ifndef TD_ACME_SERVER_PROBLEM_H
#define TD_ACME_SERVER_PROBLEM_H

#include "mdm/base/buf.h"
#include "mdm/base/err.h"
#include "mdm/base/req.h"

#define ACME_PROBLEM_TYPE "application/problem+json"

/* Fills *ei (if not NULL): code, ACME type (static), reason (static), message. Returns `e`. */
enum td_err acme_refuse(struct errinfo *ei, enum td_err e, const char *type, const char *reason,
                        const char *fmt, ...) TD_PRINTF(5, 6);

/* 404 without telling whether the object exists for someone else. */
enum td_err acme_not_found(struct errinfo *ei);

/* Link rel="index" (but on the directory), and on a POST a fresh Replay-Nonce; once each. */
void acme_headers(const struct req *r, struct resp *resp);

/* A part of a problem, about one identifier (RFC 8555 section 6.7.1). */
struct acme_subproblem {
    const char *type, *detail, *id_type, *id_value;
};

/* Answers with a problem that has parts, and returns TD_OK: the answer is complete. Never fails. */
enum td_err acme_problem_answer(const struct req *r, struct resp *resp, enum td_err e,
                                const struct errinfo *ei, const struct acme_subproblem *sub,
                                size_t nsub);

/* The problem document of an error, appended. Faults of ours keep their details to the log. */
enum td_err acme_problem_json(enum td_err e, const struct errinfo *ei, struct buf *b);

/* The HTTP status of an error: the type's by RFC 8555, else the error's; never 401. */
int acme_problem_status(enum td_err e, const struct errinfo *ei);

/* For the route table. */
void acme_problem(const struct req *r, struct resp *resp, enum td_err e, const struct errinfo *ei);

#endif
