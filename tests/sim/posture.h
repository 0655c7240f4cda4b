/* What a simulated device is like: what it reports and what is attested of it. */
#ifndef TD_SIM_POSTURE_H
#define TD_SIM_POSTURE_H

#include "mdm/base/buf.h"

#include <stdio.h>

enum { POSTURE_TEXT_MAX = 31, POSTURE_LIST_MAX = 1024 };

/* Flags are 1, 0, or -1: not said. Those that a kind of device has not are not asked for. */
struct posture {
    int filevault, recovery_key, sip, sealed_volume, recovery_lock, kexts;
    int firewall, firewall_block_all, firewall_stealth, remote_desktop;
    int passcode, passcode_compliant, lost_mode, supervised, dep, user_approved;
    int secure_boot; /* 2 full, 1 medium, 0 off, -1 not said */
    int lie;         /* reports tell what a device in order tells; attestations tell the truth */
    char os[POSTURE_TEXT_MAX + 1], build[POSTURE_TEXT_MAX + 1]; /* "" not said */
};

/* A device in order. */
void posture_init(struct posture *p, const char *os, const char *build);

/* Changes what a text names: "filevault=off,os=17.1". TD_INVAL names what is wrong; nothing is
 * changed then. */
enum td_err posture_set(struct posture *p, const char *text, struct errinfo *ei);

/* All of it as such a text. */
enum td_err posture_text(const struct posture *p, struct buf *b);

/* The names and their values, one line each. */
void posture_help(FILE *f);

/* The words of MDM and of Apple's attestation; NULL for not said. */
const char *posture_boot_said(const struct posture *p);
const char *posture_boot_attested(const struct posture *p);

#endif
