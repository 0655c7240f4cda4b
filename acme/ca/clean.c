#include "acme/ca/clean.h"

enum { CLEAN_PAGE, CLEAN_DROP, CLEAN_MAX };

/* A certificate that an enrolment still holds stays however old it is: its device must be able to
 * come and renew (MB-30). */
static const struct store_stmt stmts[CLEAN_MAX] = {
    [CLEAN_PAGE] = {"ca.clean_page",
                    "SELECT not_after, serial FROM certificates WHERE not_after < ?1 AND "
                    "not_after >= ?2 AND (not_after, serial) > (?2, ?3) "
                    "ORDER BY not_after, serial LIMIT ?4",
                    "iibi", "ib"},
    [CLEAN_DROP] = {"ca.clean_drop",
                    "DELETE FROM certificates WHERE not_after >= ?1 AND not_after <= ?3 AND "
                    "(not_after, serial) > (?1, ?2) AND (not_after, serial) <= (?3, ?4) AND "
                    "NOT EXISTS (SELECT 1 FROM enrollments e WHERE e.cert_sha256 = "
                    "certificates.sha256)",
                    "ibib", ""},
};

const struct store_stmts ca_clean_stmts = {stmts, CLEAN_MAX};

enum td_err ca_clean(struct tx *tx, int64_t before, size_t max, struct sweep *pos,
                     int64_t *ret_gone, bool *ret_more, struct errinfo *ei)
{
    const struct sweep_sql sql = {&stmts[CLEAN_PAGE], &stmts[CLEAN_DROP]};
    return sweep_step(tx, &sql, before, max, pos, ret_gone, ret_more, ei);
}
