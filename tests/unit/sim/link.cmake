# testudo-sim is a program: its files but main.c become a library for the tests, once.
if(NOT TARGET td_simtest)
    file(GLOB sim_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/sim/*.c)
    list(REMOVE_ITEM sim_files ${CMAKE_SOURCE_DIR}/tests/sim/main.c)
    add_library(td_simtest STATIC ${sim_files})
    td_common(td_simtest)
    target_link_libraries(td_simtest PUBLIC td_wire td_base PkgConfig::openssl Threads::Threads)
endif()
set(TD_LINK td_simtest)
