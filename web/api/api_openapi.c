/* GET /api/v1/openapi.json: the description of the API. */
#include "mdm/base/embed.h"
#include "web/api/api_int.h"
#include "web/api/api_util.h"

EMBED(openapi, "contrib/doc/openapi.json");

API_HANDLER(openapi)
{
    (void)req, (void)ei;
    return resp_body(resp, 200, API_JSON, span_str((const char *)openapi));
}
