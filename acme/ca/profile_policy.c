#include "acme/ca/profile_policy.h"

#include <stdio.h>
#include <string.h>

#include "mdm/base/rng.h"
#include "mdm/base/str.h"
#include "mdm/base/words.h"
#include "mdm/store/audit.h"

#define WORD_MAX 40

enum { STMT_GET, STMT_INSERT, STMT_UPDATE, STMT_MAX };

static const struct store_stmt stmts[STMT_MAX] = {
    [STMT_GET] = {"ca.policy_get",
                  "SELECT enabled, eab_required, dev_groups, platforms, min_os, rev, updated_at "
                  "FROM cert_profiles WHERE name = ?1",
                  "t", "iitttii"},
    [STMT_INSERT] = {"ca.policy_insert",
                     "INSERT INTO cert_profiles (name, enabled, eab_required, dev_groups, "
                     "platforms, min_os, rev, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7) "
                     "ON CONFLICT DO NOTHING",
                     "tiittti", ""},
    [STMT_UPDATE] = {"ca.policy_update",
                     "UPDATE cert_profiles SET enabled = ?2, eab_required = ?3, dev_groups = ?4, "
                     "platforms = ?5, min_os = ?6, rev = rev + 1, updated_at = ?7 "
                     "WHERE name = ?1 AND rev = ?8",
                     "tiitttii", ""},
};

const struct store_stmts ca_policy_stmts = {stmts, STMT_MAX};

static bool copy(const struct cur *c, int col, char out[static CA_POLICY_TEXT])
{
    struct span s = cur_span(c, col);
    if (s.n >= CA_POLICY_TEXT)
        return false;
    snprintf(out, CA_POLICY_TEXT, "%.*s", (int)s.n, (const char *)s.p);
    return true;
}

enum td_err ca_policy_get(struct tx *tx, const char *profile, struct ca_policy *ret,
                          struct errinfo *ei)
{
    struct cur c;
    *ret = (struct ca_policy){.enabled = true};
    enum td_err e = tx_row(tx, &stmts[STMT_GET], SV_LIST(SV_TEXT(profile)), &c, ei);
    if (e == TD_NOTFOUND)
        return TD_OK;
    TD_TRY(e);
    ret->enabled = cur_int(&c, 0) != 0;
    ret->eab_required = cur_int(&c, 1) != 0;
    bool whole =
        copy(&c, 2, ret->groups) && copy(&c, 3, ret->platforms) && copy(&c, 4, ret->min_os);
    ret->rev = cur_int(&c, 5);
    ret->updated_at = cur_int(&c, 6);
    cur_end(&c);
    return whole ? TD_OK : err_set(ei, TD_DB, "the policy of a certificate profile is damaged");
}

/* --- lists of words --- */

static enum td_err invalid(struct errinfo *ei, const char *list, struct span w)
{
    return err_reason(ei, TD_INVAL, "invalid-policy", "%s: '%.*s' cannot stand there", list,
                      w.n < WORD_MAX ? (int)w.n : WORD_MAX, w.p ? (const char *)w.p : "");
}

/* Sorts the words, refusing those that do not fit. */
static enum td_err judge_list(char text[static CA_POLICY_TEXT], const char *name,
                              bool (*fits)(struct span), struct errinfo *ei)
{
    struct span bad;
    return words_sort(text, ' ', WORD_MAX, fits, &bad) ? TD_OK : invalid(ei, name, bad);
}

static bool min_fits(struct span w)
{
    struct span version = w, platform = str_cut(&version, '=');
    bool valid;
    version_cmp(version, version, &valid);
    return valid && words_platform(platform);
}

enum td_err ca_policy_judge(struct ca_policy *p, struct errinfo *ei)
{
    TD_TRY(judge_list(p->groups, "groups", words_plain, ei));
    TD_TRY(judge_list(p->platforms, "platforms", words_platform, ei));
    TD_TRY(judge_list(p->min_os, "min_os", min_fits, ei));
    struct span rest = span_str(p->min_os), last = {NULL, 0}, w;
    while ((w = words_next(&rest)).n > 0) {
        struct span platform = str_cut(&w, '=');
        if (span_eq(platform, last))
            return invalid(ei, "min_os (twice)", platform);
        last = platform;
    }
    return TD_OK;
}

enum td_err ca_policy_put(struct tx *tx, const char *profile, struct ca_policy *p, int64_t if_match,
                          int64_t now, const char *actor, const char *txn, struct errinfo *ei)
{
    struct ca_policy old;
    int64_t changes = 0;
    TD_TRY(ca_policy_get(tx, profile, &old, ei));
    const struct sval args[] = {SV_TEXT(profile),   SV_INT(p->enabled),    SV_INT(p->eab_required),
                                SV_TEXT(p->groups), SV_TEXT(p->platforms), SV_TEXT(p->min_os),
                                SV_INT(now),        SV_INT(old.rev)};
    bool fits = if_match < 0 || if_match == old.rev;
    if (fits && old.rev == 0)
        TD_TRY(tx_exec(tx, &stmts[STMT_INSERT], args, TD_NITEMS(args) - 1, &changes, ei));
    else if (fits)
        TD_TRY(tx_exec(tx, &stmts[STMT_UPDATE], args, TD_NITEMS(args), &changes, ei));
    if (changes != 1) {
        enum td_err e = err_reason(ei, TD_CONFLICT, "rev-mismatch",
                                   "the profile's policy is not what the caller saw");
        if (ei)
            ei->http = 412;
        return e;
    }
    p->rev = old.rev + 1;
    p->updated_at = now;
    char detail[4 * CA_POLICY_TEXT];
    snprintf(detail, sizeof detail,
             "enabled=%d eab=%d groups=\"%s\" platforms=\"%s\" "
             "min_os=\"%s\"",
             p->enabled, p->eab_required, p->groups, p->platforms, p->min_os);
    return audit_add(tx, now, txn, actor, "profile.policy", profile, detail, ei);
}

/* --- judging a device --- */

static enum td_err not_allowed(struct errinfo *ei, const char *why)
{
    return err_reason(ei, TD_FORBIDDEN, "profile-not-allowed", "%s", why);
}

static enum td_err check_os(const struct ca_policy *p, const struct ca_candidate *c,
                            struct errinfo *ei)
{
    struct span rest = span_str(p->min_os), w;
    while ((w = words_next(&rest)).n > 0) {
        struct span least = w, platform = str_cut(&least, '=');
        bool valid;
        if (!span_eq_str(platform, c->platform))
            continue;
        int order = version_cmp(c->os_version, least, &valid);
        if (!valid)
            return err_reason(ei, TD_FORBIDDEN, "os-unknown",
                              "the device attests no version of its system");
        if (order < 0)
            return err_reason(ei, TD_FORBIDDEN, "os-too-old",
                              "the device attests version %.*s, the profile wants %.*s",
                              (int)c->os_version.n, (const char *)c->os_version.p, (int)least.n,
                              (const char *)least.p);
        return TD_OK;
    }
    return TD_OK;
}

enum td_err ca_policy_allows(const struct ca_policy *p, const struct ca_candidate *c,
                             struct errinfo *ei)
{
    if (!p->enabled)
        return err_reason(ei, TD_FORBIDDEN, "profile-disabled",
                          "the certificate profile is switched off");
    if (*p->platforms && !words_has(span_str(p->platforms), span_str(c->platform)))
        return not_allowed(ei, *c->platform ? "the profile is not for this device's platform"
                                            : "the device's platform is not known");
    if (*p->groups && !words_meet(span_str(p->groups), c->groups))
        return not_allowed(ei, "the device is in none of the profile's groups");
    if (*p->min_os && !*c->platform)
        return not_allowed(ei, "the device's platform is not known");
    return c->attested ? check_os(p, c, ei) : TD_OK;
}
