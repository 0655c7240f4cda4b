# testudo is a program: its files but main.c become a library for the tests, once.
if(NOT TARGET td_server_parts)
    file(GLOB parts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/server/*.c)
    list(FILTER parts EXCLUDE REGEX "/main\\.c$")
    add_library(td_server_parts STATIC EXCLUDE_FROM_ALL ${parts})
    td_common(td_server_parts)
    target_link_libraries(td_server_parts PUBLIC td_api td_hook td_device td_auth td_http td_acme td_attest
        td_ca td_enroll td_profiles td_apns td_inventory td_core td_store)
endif()
set(TD_LINK td_server_parts)
