# The statements of the whole server, and the engines' own libraries to ask for their plans.
include(${CMAKE_CURRENT_SOURCE_DIR}/unit/clean/link.cmake)
set(TD_LINK td_server_parts PkgConfig::sqlite3 PkgConfig::libpq)
