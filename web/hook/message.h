/* What is sent to an endpoint: the event as JSON, and its signature as Standard Webhooks 1.0 has
 * it, which receivers' libraries verify. */
#ifndef TD_WEB_HOOK_MESSAGE_H
#define TD_WEB_HOOK_MESSAGE_H

#include "mdm/base/buf.h"
#include "mdm/base/secret.h"

#define HOOK_SECRET 32 /* bytes */
/* "whsec_" and the secret in base64, and a NUL */
#define HOOK_SECRET_TEXT (6 + 44 + 1)
#define HOOK_BODY_MAX 65536

/* Borrowed. "" where there is none. */
struct hook_event {
    const char *id, *type, *txn, *actor, *device, *certificate;
    const char *data; /* a JSON object */
    int64_t at;
};

/* Appends {"id","type","time","txn","actor","device","certificate","data"}. The same event is
 * always the same bytes. */
TD_NODISCARD enum td_err hook_body(const struct hook_event *ev, struct buf *b);

/* Appends "v1," and the base64 of HMAC-SHA-256 over ID.TIMESTAMP.BODY: one of the signatures, with
 * blanks between them, of the header Webhook-Signature. */
TD_NODISCARD enum td_err hook_sign(struct span secret, const char *id, int64_t timestamp,
                                   struct span body, struct buf *b, struct errinfo *ei);

/* How people are shown a secret. */
TD_NODISCARD enum td_err hook_secret_text(const uint8_t secret[static HOOK_SECRET],
                                          char out[static HOOK_SECRET_TEXT]);

#endif
