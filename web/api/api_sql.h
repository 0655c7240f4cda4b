/* The statements of the API that belong to no room below. */
#ifndef TD_WEB_API_SQL_H
#define TD_WEB_API_SQL_H

#include "web/api/api.h"

enum { API_ST_EVIDENCE, API_ST_AUDIT, API_ST_MAX };

#endif
