#include "web/hook/post.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADERS_MAX 65536 /* bytes of an answer's header */

struct hook_post {
    struct hook_post_conf conf;
    CURL *curl;
    size_t header, body; /* bytes that came */
    char error[CURL_ERROR_SIZE];
};

enum td_err hook_post_init(struct errinfo *ei)
{
    CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);
    return rc == CURLE_OK ? TD_OK : err_set(ei, TD_INTERNAL, "libcurl: %s", curl_easy_strerror(rc));
}

/* --- addresses ------------------------------------------------------------------------------- */

static enum td_err refuse(struct errinfo *ei, const char *why)
{
    return err_reason(ei, TD_INVAL, "webhook-url", "url: %s", why);
}

static bool part_is(CURLU *u, CURLUPart part, const char *const *words)
{
    char *text = NULL;
    bool found = false;
    if (curl_url_get(u, part, &text, 0) == CURLUE_OK)
        for (; *words && !found; words++)
            found = strcmp(text, *words) == 0;
    curl_free(text);
    return found;
}

static bool part_set(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool set = curl_url_get(u, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return set;
}

static enum td_err check_parts(CURLU *u, struct errinfo *ei)
{
    static const char *const https[] = {"https", NULL}, *const http[] = {"http", NULL};
    static const char *const loopback[] = {"127.0.0.1", "[::1]", "localhost", NULL};
    if (part_set(u, CURLUPART_USER) || part_set(u, CURLUPART_PASSWORD))
        return refuse(ei, "no user and password here");
    if (part_set(u, CURLUPART_FRAGMENT))
        return refuse(ei, "no fragment here");
    if (part_is(u, CURLUPART_SCHEME, https))
        return TD_OK;
    if (part_is(u, CURLUPART_SCHEME, http) && part_is(u, CURLUPART_HOST, loopback))
        return TD_OK;
    return refuse(ei, "https://HOST/PATH (http only to this machine)");
}

enum td_err hook_url_check(const char *url, struct errinfo *ei)
{
    if (strlen(url) > HOOK_URL_MAX)
        return refuse(ei, "too long");
    for (const char *p = url; *p; p++)
        if (*p <= ' ' || *p > '~')
            return refuse(ei, "printable ASCII without blanks");
    CURLU *u = curl_url(); /* the very parser that the request goes through */
    if (!u)
        return err_set(ei, TD_NOMEM, "no memory for an address");
    enum td_err e = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK
                        ? check_parts(u, ei)
                        : refuse(ei, "https://HOST/PATH");
    curl_url_cleanup(u);
    return e;
}

/* --- requests -------------------------------------------------------------------------------- */

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
    struct hook_post *post = ctx;
    (void)p;
    post->header += size * n;
    return post->header <= HEADERS_MAX ? size * n : 0;
}

/* What comes behind the bound ends the transfer; the status stands. */
static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct hook_post *post = ctx;
    (void)p;
    post->body += size * n;
    return post->body <= HOOK_ANSWER_MAX ? size * n : 0;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct hook_post *post = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return post->conf.stop && atomic_load(post->conf.stop);
}

static CURLcode set_numbers(struct hook_post *p)
{
    const struct {
        CURLoption option;
        long value;
    } rows[] = {
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_NETRC, CURL_NETRC_IGNORED},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
        {CURLOPT_TIMEOUT, (long)p->conf.timeout},
        {CURLOPT_CONNECTTIMEOUT, (long)p->conf.connect},
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_NOPROGRESS, 0},
    };
    CURLcode rc = CURLE_OK;
    for (size_t i = 0; i < TD_NITEMS(rows) && rc == CURLE_OK; i++)
        rc = curl_easy_setopt(p->curl, rows[i].option, rows[i].value);
    return rc;
}

static CURLcode set_pointers(struct hook_post *p)
{
    const struct {
        CURLoption option;
        const void *value;
    } rows[] = {
        {CURLOPT_PROTOCOLS_STR, "http,https"},
        {CURLOPT_PROXY, ""}, /* nor that of the environment */
        {CURLOPT_USERAGENT, "testudo/" TD_VERSION},
        {CURLOPT_HEADERDATA, p},
        {CURLOPT_WRITEDATA, p},
        {CURLOPT_XFERINFODATA, p},
        {CURLOPT_ERRORBUFFER, p->error},
        /* the last two only with a file of one's own */
        {CURLOPT_CAINFO, p->conf.ca_file},
        {CURLOPT_CAPATH, NULL},
    };
    size_t n = TD_NITEMS(rows) - (p->conf.ca_file[0] ? 0 : 2);
    CURLcode rc = CURLE_OK;
    for (size_t i = 0; i < n && rc == CURLE_OK; i++)
        rc = curl_easy_setopt(p->curl, rows[i].option, rows[i].value);
    return rc;
}

/* What holds for every request. */
static CURLcode set_up(struct hook_post *p)
{
    CURLcode rc = set_numbers(p);
    rc = rc ? rc : set_pointers(p);
    rc = rc ? rc : curl_easy_setopt(p->curl, CURLOPT_HEADERFUNCTION, on_header);
    rc = rc ? rc : curl_easy_setopt(p->curl, CURLOPT_WRITEFUNCTION, on_body);
    return rc ? rc : curl_easy_setopt(p->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
}

enum td_err hook_post_open(const struct hook_post_conf *conf, struct hook_post **ret,
                           struct errinfo *ei)
{
    struct hook_post *p = calloc(1, sizeof *p);
    *ret = NULL;
    if (!p)
        return err_set(ei, TD_NOMEM, "no memory for a webhook");
    p->conf = *conf;
    p->curl = curl_easy_init();
    CURLcode rc = p->curl ? set_up(p) : CURLE_OUT_OF_MEMORY;
    if (rc != CURLE_OK) {
        hook_post_close(p);
        return err_set(ei, TD_INTERNAL, "libcurl: %s", curl_easy_strerror(rc));
    }
    *ret = p;
    return TD_OK;
}

void hook_post_close(struct hook_post *p)
{
    if (!p)
        return;
    curl_easy_cleanup(p->curl);
    free(p);
}

static void explain(const struct hook_post *p, CURLcode rc, struct hook_answer *ret)
{
    if (rc == CURLE_OK)
        snprintf(ret->error, sizeof ret->error, "answered %ld", ret->status);
    else
        snprintf(ret->error, sizeof ret->error, "%.*s", HOOK_ERROR_MAX,
                 p->error[0] ? p->error : curl_easy_strerror(rc));
    for (char *c = ret->error; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

static void judge(struct hook_post *p, CURLcode rc, struct hook_answer *ret)
{
    curl_off_t wait = 0;
    /* all that was wanted of an answer that is too long has come */
    if (rc == CURLE_WRITE_ERROR && p->body > HOOK_ANSWER_MAX)
        rc = CURLE_OK;
    if (rc == CURLE_OK)
        (void)curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &ret->status);
    if (rc == CURLE_OK && ret->status >= 200 && ret->status < 300)
        return;
    if (rc == CURLE_OK && curl_easy_getinfo(p->curl, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK)
        ret->retry_after = wait;
    explain(p, rc, ret);
}

static struct curl_slist *header_list(const char *const *headers, size_t n)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:"); /* not to be asked for */
    for (size_t i = 0; i < n && list; i++) {
        struct curl_slist *more = curl_slist_append(list, headers[i]);
        if (!more)
            curl_slist_free_all(list);
        list = more;
    }
    return list;
}

enum td_err hook_post_send(struct hook_post *p, const char *url, const char *const *headers,
                           size_t nheaders, struct span body, struct hook_answer *ret,
                           struct errinfo *ei)
{
    *ret = (struct hook_answer){0};
    p->header = p->body = 0;
    p->error[0] = 0;
    struct curl_slist *list = header_list(headers, nheaders);
    if (!list)
        return err_set(ei, TD_NOMEM, "no memory for a webhook");
    CURL *c = p->curl;
    CURLcode rc = curl_easy_setopt(c, CURLOPT_URL, url);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_POSTFIELDS, (const char *)body.p);
    rc = rc ? rc : curl_easy_perform(c);
    judge(p, rc, ret);
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(list);
    return TD_OK;
}
