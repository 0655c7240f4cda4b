/* Tells systemd how the service is (sd_notify protocol); nothing when not run by it. */
#ifndef TD_WEB_SERVER_NOTIFY_H
#define TD_WEB_SERVER_NOTIFY_H

/* state: "READY=1", "RELOADING=1", "STOPPING=1". socket: the value of NOTIFY_SOCKET or NULL. */
void notify_send(const char *socket, const char *state);

#endif
