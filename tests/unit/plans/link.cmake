# The statements of the whole server, and the engines' own libraries to ask for their plans.
include(${CMAKE_CURRENT_SOURCE_DIR}/unit/clean/link.cmake)
pkg_check_modules(plans_pq QUIET IMPORTED_TARGET libpq)
set(TD_LINK td_server_parts PkgConfig::sqlite3)
if(plans_pq_FOUND)
    list(APPEND TD_LINK PkgConfig::plans_pq)
    target_compile_definitions(${name} PRIVATE TD_PLANS_PQ)
endif()
