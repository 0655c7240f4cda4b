/* The description of the API and the table of its routes: each names what the other has, no more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mdm/wire/json.h"
#include "web/api/api.h"

#define BASE "/api/v1"

static const struct {
    enum req_method method;
    const char *name;
} methods[] = {{REQ_GET, "get"}, {REQ_POST, "post"}, {REQ_PUT, "put"}, {REQ_DELETE, "delete"}};

struct world {
    struct arena a;
    struct json *doc;
};

/* As the server sends it. */
static int setup(void **state)
{
    static struct world w;
    struct resp resp;
    const struct req req = {.method = REQ_GET, .arena = &w.a};
    arena_init(&w.a, (size_t)64 << 20);
    resp_init(&resp, &w.a, 1 << 20);
    struct errinfo ei = {0};
    for (size_t i = 0; i < api_nroutes; i++)
        if (strcmp(api_routes[i].path, BASE "/openapi.json") == 0)
            assert_int_equal(api_routes[i].fn(&req, &resp, &ei), TD_OK);
    assert_int_equal(resp.status, 200);
    assert_string_equal(resp.content_type, "application/json");
    struct span copy = arena_span(&w.a, buf_view(&resp.body));
    resp_free(&resp);
    if (json_parse(copy, &w.a, &w.doc, &ei) != TD_OK)
        fail_msg("%s", ei.msg);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    arena_free(&w->a);
    return 0;
}

static const char *name_of(unsigned method)
{
    for (size_t i = 0; i < TD_NITEMS(methods); i++)
        if (methods[i].method == method)
            return methods[i].name;
    return "?";
}

/* "security": [{"token": ["the scope"]}], or [] for anyone. */
static void check_security(const struct route *r, const struct json *op)
{
    const struct json *all = json_member(op, "security");
    assert_int_equal(json_kind(all), JSON_K_ARRAY);
    if (r->access == ROUTE_OPEN) {
        assert_int_equal(json_size(all), 0);
        return;
    }
    assert_int_equal(r->access, ROUTE_TOKEN);
    assert_int_equal(json_size(all), 1);
    const struct json *scopes = json_member(json_element(all, 0), "token");
    assert_int_equal(json_size(scopes), 1);
    assert_string_equal(json_str(json_element(scopes, 0)), r->scope);
}

static void each_route_is_described(void **state)
{
    struct world *w = *state;
    const struct json *paths = json_member(w->doc, "paths");
    for (size_t i = 0; i < api_nroutes; i++) {
        const struct route *r = &api_routes[i];
        const char *summary;
        assert_int_equal(strncmp(r->path, BASE, strlen(BASE)), 0);
        const struct json *op =
            json_member(json_member(paths, r->path + strlen(BASE)), name_of(r->methods));
        if (!op)
            fail_msg("%s %s is not in contrib/doc/openapi.json", name_of(r->methods), r->path);
        assert_int_equal(json_get_str(op, "summary", &summary), TD_OK);
        assert_string_equal(summary, r->doc);
        if ((json_member(op, "requestBody") != NULL) != (r->body_max > 0))
            fail_msg("%s %s: a body, or none", name_of(r->methods), r->path);
        check_security(r, op);
    }
}

static bool routed(const char *path, const char *method)
{
    for (size_t i = 0; i < api_nroutes; i++)
        if (strcmp(api_routes[i].path + strlen(BASE), path) == 0 &&
            strcmp(name_of(api_routes[i].methods), method) == 0)
            return true;
    return false;
}

static void each_description_has_its_route(void **state)
{
    struct world *w = *state;
    const struct json *paths = json_member(w->doc, "paths");
    const char *path, *method;
    size_t n = 0;
    assert_true(json_size(paths) > 0);
    for (size_t i = 0; i < json_size(paths); i++) {
        const struct json *item = json_member_at(paths, i, &path);
        for (size_t k = 0; k < json_size(item); k++, n++) {
            (void)json_member_at(item, k, &method);
            if (!routed(path, method))
                fail_msg("%s %s has no route", method, path);
        }
    }
    assert_int_equal(n, api_nroutes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_route_is_described),
        cmocka_unit_test(each_description_has_its_route),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
