#include "acme/ca/clean.h"

enum { CLEAN_PAGE, CLEAN_DROP, CLEAN_MAX };

/* A certificate that an enrolment still holds stays however old it is: its device must be able to
 * come and renew (MB-30). */
static const struct store_stmt stmts[CLEAN_MAX] = {
    [CLEAN_PAGE] = {"ca.clean_page", SWEEP_PAGE("certificates", "not_after", "serial"),
                    SWEEP_PAGE_IN("b"), SWEEP_PAGE_OUT("b")},
    [CLEAN_DROP] = {"ca.clean",
                    SWEEP_DROP("certificates", "not_after",
                               "serial") " AND NOT EXISTS (SELECT 1 FROM enrollments e"
                                         " WHERE e.cert_sha256 = certificates.sha256)",
                    SWEEP_DROP_IN("b"), ""},
};

const struct store_stmts ca_clean_stmts = {stmts, CLEAN_MAX};

enum td_err ca_clean(struct tx *tx, struct sweep *s, struct errinfo *ei)
{
    return sweep_step(tx, &stmts[CLEAN_PAGE], &stmts[CLEAN_DROP], s, ei);
}
