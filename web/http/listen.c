#include "web/http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mdm/base/num.h"

#define BACKLOG 1024

union addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

static enum td_err unusable(struct errinfo *ei, const char *address)
{
    return err_set(ei, TD_INVAL, "address %s is not HOST:PORT, [HOST]:PORT or unix:/PATH", address);
}

static enum td_err parse_tcp(const char *address, union addr *ret, socklen_t *ret_n,
                             struct errinfo *ei)
{
    const char *colon = strrchr(address, ':');
    uint64_t port = 0;
    if (!colon || num_u64(span_str(colon + 1), 65535, &port) != TD_OK)
        return unusable(ei, address);
    struct span host = span_of(address, (size_t)(colon - address));
    bool six = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (six)
        host = span_sub(host, 1, host.n - 2);
    char text[INET6_ADDRSTRLEN];
    if (host.n >= sizeof text)
        return unusable(ei, address);
    snprintf(text, sizeof text, "%.*s", (int)host.n, (const char *)host.p);
    *ret = (union addr){0};
    if (six) {
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons((uint16_t)port);
        *ret_n = sizeof ret->in6;
        return inet_pton(AF_INET6, text, &ret->in6.sin6_addr) == 1 ? TD_OK : unusable(ei, address);
    }
    ret->in.sin_family = AF_INET;
    ret->in.sin_port = htons((uint16_t)port);
    *ret_n = sizeof ret->in;
    return inet_pton(AF_INET, text, &ret->in.sin_addr) == 1 ? TD_OK : unusable(ei, address);
}

/* A socket file that nobody answers on is a leftover; anything else in the way stays. */
static enum td_err clear_stale(const union addr *a, struct errinfo *ei)
{
    struct stat st;
    if (lstat(a->un.sun_path, &st) != 0)
        return TD_OK;
    if (!S_ISSOCK(st.st_mode))
        return err_set(ei, TD_INVAL, "%s exists and is no socket", a->un.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(ei, TD_IO, errno, "socket");
    bool dead = connect(fd, &a->sa, sizeof a->un) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (!dead)
        return err_set(ei, TD_INVAL, "%s is in use", a->un.sun_path);
    unlink(a->un.sun_path);
    return TD_OK;
}

static enum td_err finish(int fd, const union addr *a, socklen_t n, const char *address,
                          struct errinfo *ei)
{
    const int on = 1;
    int family = a->sa.sa_family;
    if (family == AF_UNIX)
        (void)fchmod(fd, 0660); /* the file is born with it */
    else
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &a->sa, n) != 0 || listen(fd, BACKLOG) != 0)
        return err_sys(ei, TD_INVAL, errno, "cannot listen on %s", address);
    if (family == AF_UNIX && chmod(a->un.sun_path, 0660) != 0)
        return err_sys(ei, TD_IO, errno, "chmod %s", a->un.sun_path);
    return TD_OK;
}

enum td_err http_sock_open(const char *address, struct http_sock *ret, struct errinfo *ei)
{
    union addr a = {0};
    socklen_t n = sizeof a.un;
    bool local = strncmp(address, "unix:", 5) == 0;
    struct http_sock s = {.fd = -1, .local = local};
    if (local) {
        if (address[5] != '/' || strlen(address + 5) >= sizeof s.path)
            return unusable(ei, address);
        a.un.sun_family = AF_UNIX;
        snprintf(a.un.sun_path, sizeof a.un.sun_path, "%s", address + 5);
        snprintf(s.path, sizeof s.path, "%s", address + 5);
        TD_TRY(clear_stale(&a, ei));
    } else {
        TD_TRY(parse_tcp(address, &a, &n, ei));
    }
    s.fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s.fd < 0)
        return err_sys(ei, TD_INVAL, errno, "socket for %s", address);
    enum td_err e = finish(s.fd, &a, n, address, ei);
    if (e != TD_OK) {
        close(s.fd);
        return e;
    }
    n = sizeof a;
    if (!local && getsockname(s.fd, &a.sa, &n) == 0)
        s.port = ntohs(a.sa.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
    *ret = s;
    return TD_OK;
}

void http_sock_close(struct http_sock *s)
{
    if (s->fd < 0)
        return;
    close(s->fd);
    s->fd = -1;
    if (s->local)
        unlink(s->path);
}

void http_addr_text(const struct sockaddr *sa, char out[static HTTP_ADDR_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "";
    const union addr *a = (const void *)sa;
    snprintf(out, HTTP_ADDR_SIZE, "unix");
    if (!sa)
        return;
    if (sa->sa_family == AF_INET && inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof host))
        snprintf(out, HTTP_ADDR_SIZE, "%s:%u", host, ntohs(a->in.sin_port));
    else if (sa->sa_family == AF_INET6 && inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host))
        snprintf(out, HTTP_ADDR_SIZE, "[%s]:%u", host, ntohs(a->in6.sin6_port));
}
