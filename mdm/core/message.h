/* What a device says, as plain data: check-in messages and command reports. Pure parsing, no
 * storage: the fuzzed surface of this room. Strings live in the arena. */
#ifndef TD_CORE_MESSAGE_H
#define TD_CORE_MESSAGE_H

#include "mdm/base/arena.h"
#include "mdm/base/err.h"
#include "mdm/wire/plist.h"

#define CORE_ID_MAX 64     /* a UDID has 25, 36 or 40 characters */
#define CORE_TEXT_MAX 255  /* device name and the like; longer ones are cut */
#define CORE_TOKEN_MAX 256 /* APNs device tokens have 32 bytes, Apple warns that they may grow */
#define CORE_STATUS_MAX 32

/* A check-in message. Strings are NULL and spans empty when the message lacks them; descriptive
 * members (device_name and so on) are "" then, and also when of a wrong type. */
struct core_msg {
    const char *type;
    const char *udid, *enrollment_id;
    bool user_channel; /* UserID or EnrollmentUserID is there */
    const char *topic, *serial;
    const char *device_name, *model, *product, *os_version, *build;
    const char *push_magic;
    struct span token, unlock_token, bootstrap_token;
    int awaiting; /* AwaitingConfiguration: 1, 0, or -1 when absent (MB-16) */
};

/* TD_PARSE: no dict, no MessageType, or a member that counts has a wrong type or form. */
TD_NODISCARD enum td_err core_msg_parse(struct span body, struct arena *a, struct core_msg *ret,
                                        struct errinfo *ei);

/* A command report. */
struct core_report {
    const char *status; /* verbatim, cut at CORE_STATUS_MAX; never NULL */
    const char *uuid;   /* NULL when absent */
    const char *udid;   /* UDID or EnrollmentID; NULL when absent */
    bool user_channel;
    bool decoded; /* false: not a property list; status and uuid were salvaged (MB-48) */
    const struct plist *body; /* its dict when decoded, in the arena */
};

/* TD_PARSE only when neither a Status nor a CommandUUID can be made out. */
TD_NODISCARD enum td_err core_report_parse(struct span body, struct arena *a,
                                           struct core_report *ret, struct errinfo *ei);

/* True for 1..CORE_ID_MAX letters, digits and '-'. */
bool core_id_valid(const char *id);

#endif
