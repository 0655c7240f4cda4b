#include "tests/sim/posture.h"

#include "mdm/base/str.h"

#include <stddef.h>
#include <stdlib.h>

enum kind { FLAG, BOOT, TEXT };

/* The words of a kind in the order of their numbers. */
static const char *const words[][3] = {
    [FLAG] = {"off", "on", NULL}, [BOOT] = {"off", "medium", "full"}};

static const struct setting {
    const char *name;
    enum kind kind;
    size_t offset;
    int init;
    const char *doc;
} settings[] = {
#define O(member) offsetof(struct posture, member)
    {"filevault", FLAG, O(filevault), 1, "FileVault"},
    {"recovery_key", FLAG, O(recovery_key), 1, "a personal recovery key"},
    {"sip", FLAG, O(sip), 1, "System Integrity Protection; attested"},
    {"secure_boot", BOOT, O(secure_boot), 2, "Secure Boot; attested"},
    {"kexts", FLAG, O(kexts), 0, "others' kernel extensions; attested, reported with medium"},
    {"sealed_volume", FLAG, O(sealed_volume), 1, "the seal of the system's volume"},
    {"recovery_lock", FLAG, O(recovery_lock), 0, "Recovery Lock"},
    {"firewall", FLAG, O(firewall), 1, "the firewall"},
    {"firewall_block_all", FLAG, O(firewall_block_all), 0, "which blocks all incoming"},
    {"firewall_stealth", FLAG, O(firewall_stealth), 0, "its stealth mode"},
    {"remote_desktop", FLAG, O(remote_desktop), 0, "Remote Desktop"},
    {"user_approved", FLAG, O(user_approved), 1, "a Mac's enrolment, approved by the user"},
    {"dep", FLAG, O(dep), 0, "enrolled by Automated Device Enrollment"},
    {"passcode", FLAG, O(passcode), 1, "a passcode (not on Macs)"},
    {"passcode_compliant", FLAG, O(passcode_compliant), 1, "which is as profiles demand"},
    {"lost_mode", FLAG, O(lost_mode), 0, "Managed Lost Mode (not on Macs)"},
    {"supervised", FLAG, O(supervised), 0, "supervision"},
    {"os", TEXT, O(os), 0, "the system's version; attested"},
    {"build", TEXT, O(build), 0, "its build"},
    {"lie", FLAG, O(lie), 0, "report what a device in order would; the attestation stays true"},
#undef O
};

static const char *values(enum kind k)
{
    return k == TEXT ? "TEXT|unknown" : k == BOOT ? "full|medium|off|unknown" : "on|off|unknown";
}

static int *number_at(struct posture *p, const struct setting *s)
{
    return (int *)(void *)((char *)p + s->offset);
}

static char *text_at(struct posture *p, const struct setting *s)
{
    return (char *)p + s->offset;
}

void posture_init(struct posture *p, const char *os, const char *build)
{
    for (size_t i = 0; i < TD_NITEMS(settings); i++)
        if (settings[i].kind != TEXT)
            *number_at(p, &settings[i]) = settings[i].init;
    snprintf(p->os, sizeof(p->os), "%s", os);
    snprintf(p->build, sizeof(p->build), "%s", build);
}

static const struct setting *find(struct span name)
{
    for (size_t i = 0; i < TD_NITEMS(settings); i++)
        if (span_eq_str(name, settings[i].name))
            return &settings[i];
    return NULL;
}

static bool set_text(char out[static POSTURE_TEXT_MAX + 1], struct span v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < 0x20 || v.p[i] > 0x7e)
            return false;
    if (v.n == 0 || v.n > POSTURE_TEXT_MAX)
        return false;
    snprintf(out, POSTURE_TEXT_MAX + 1, "%.*s", (int)v.n, (const char *)v.p);
    return true;
}

static bool set_value(struct posture *p, const struct setting *s, struct span v)
{
    bool unknown = span_eq_str(v, "unknown");
    if (s->kind == TEXT && unknown)
        *text_at(p, s) = '\0';
    else if (s->kind == TEXT)
        return set_text(text_at(p, s), v);
    else if (unknown)
        *number_at(p, s) = -1;
    else
        for (int i = 0; i < 3; i++) {
            if (words[s->kind][i] && span_eq_str(v, words[s->kind][i])) {
                *number_at(p, s) = i;
                return true;
            }
        }
    return unknown;
}

enum td_err posture_set(struct posture *p, const char *text, struct errinfo *ei)
{
    struct posture next = *p;
    struct span rest = span_str(text);
    do {
        struct span value = str_cut(&rest, ','), name = str_cut(&value, '=');
        const struct setting *s = find(name);
        if (!s)
            return err_set(ei, TD_INVAL, "a device has no '%.*s'; --help lists what it has",
                           name.n < 40 ? (int)name.n : 40, name.p ? (const char *)name.p : "");
        if (!set_value(&next, s, value))
            return err_set(ei, TD_INVAL, "%s is %s, not '%.*s'", s->name, values(s->kind),
                           value.n < 40 ? (int)value.n : 40, value.p ? (const char *)value.p : "");
    } while (rest.p);
    *p = next;
    return TD_OK;
}

enum td_err posture_text(const struct posture *p, struct buf *b)
{
    struct posture copy = *p;
    for (size_t i = 0; i < TD_NITEMS(settings); i++) {
        const struct setting *s = &settings[i];
        const char *v = text_at(&copy, s);
        if (s->kind != TEXT) {
            int n = *number_at(&copy, s);
            v = n < 0 ? "" : words[s->kind][n];
        }
        buf_printf(b, "%s%s=%s", i ? "," : "", s->name, *v ? v : "unknown");
    }
    return b->err;
}

void posture_help(FILE *f)
{
    fprintf(f, "what --posture knows:\n");
    for (size_t i = 0; i < TD_NITEMS(settings); i++) {
        char left[64];
        snprintf(left, sizeof(left), "%s=%s", settings[i].name, values(settings[i].kind));
        fprintf(f, "  %-36s %s\n", left, settings[i].doc);
    }
}

const char *posture_boot_said(const struct posture *p)
{
    return p->secure_boot < 0 ? NULL : words[BOOT][p->secure_boot];
}

const char *posture_boot_attested(const struct posture *p)
{
    static const char *const apple[] = {"Permissive Security", "Reduced Security", "Full Security"};
    return p->secure_boot < 0 ? NULL : apple[p->secure_boot];
}
