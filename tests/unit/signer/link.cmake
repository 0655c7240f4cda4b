# testudo-signer is a program: its files, without main, as a library for the tests.
if(NOT TARGET td_signer_parts)
    file(GLOB parts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/acme/signer/*.c)
    list(FILTER parts EXCLUDE REGEX "/main\\.c$")
    add_library(td_signer_parts STATIC EXCLUDE_FROM_ALL ${parts})
    td_common(td_signer_parts)
    target_link_libraries(td_signer_parts PUBLIC td_signer_msg PkgConfig::seccomp PkgConfig::cryptoki)
endif()
set(TD_LINK td_signer_parts)
