/* The few calls of the server's REST API that the simulator needs. */
#ifndef TD_SIM_API_H
#define TD_SIM_API_H

#include "mdm/base/arena.h"
#include "tests/sim/http.h"
#include "tests/sim/refusal.h"

struct api {
    struct http_client http;
    const char *base;  /* "https://host:8443" */
    const char *token; /* bearer token */
    struct refusal why;
};

void api_init(struct api *a, SSL_CTX *tls, const char *base, const char *token, int timeout_ms);
void api_free(struct api *a);
#define api_auto __attribute__((cleanup(api_free))) struct api

/* PUT / DELETE of one inventory device. `model` and `name` may be NULL. */
enum td_err api_put_device(struct api *a, const char *serial, const char *model, const char *name,
                           struct errinfo *ei);
enum td_err api_delete_device(struct api *a, const char *serial, struct errinfo *ei);

/* A new invitation; *ret_url (in the arena) is the enrolment URL. */
enum td_err api_invite(struct api *a, const char *serial, struct arena *mem, const char **ret_url,
                       struct errinfo *ei);

/* Queues DeviceInformation for a device; *ret_uuid (in the arena) is the CommandUUID. */
enum td_err api_command(struct api *a, const char *serial, struct arena *mem, const char **ret_uuid,
                        struct errinfo *ei);

#endif
