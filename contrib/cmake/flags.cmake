# Warnings, hardening and build kinds.
set(TD_CFLAGS
    -Wall -Wextra -Wshadow -Wcast-qual -Wwrite-strings -Wmissing-prototypes -Wbad-function-cast
    -Wimplicit-fallthrough -Wconversion -Wsign-conversion -Wswitch-enum -Wvla -Wformat=2
    -Wnull-dereference -Wundef -Wstrict-prototypes -Wpointer-arith -Wredundant-decls
    -fno-common -fno-strict-aliasing -g
    -include ${CMAKE_SOURCE_DIR}/mdm/base/banned.h)
set(TD_LDFLAGS -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed)

if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
    # __VA_OPT__ in a GNU17 translation unit
    list(APPEND TD_CFLAGS -Wno-gnu-zero-variadic-macro-arguments)
endif()
if(TD_WERROR)
    list(APPEND TD_CFLAGS -Werror)
endif()

set(hardening -fstack-protector-strong -fstack-clash-protection -fcf-protection
              -D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
    list(APPEND hardening
         -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
endif()

if(TD_BUILD STREQUAL "release")
    list(APPEND TD_CFLAGS -O2 ${hardening})
elseif(TD_BUILD STREQUAL "debug")
    list(APPEND TD_CFLAGS -O0)
elseif(TD_BUILD STREQUAL "asan")
    set(san -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    list(APPEND TD_CFLAGS -O1 ${san})
    list(APPEND TD_LDFLAGS ${san})
elseif(TD_BUILD STREQUAL "tsan")
    list(APPEND TD_CFLAGS -O1 -fsanitize=thread -fno-omit-frame-pointer)
    list(APPEND TD_LDFLAGS -fsanitize=thread)
elseif(TD_BUILD STREQUAL "fuzz")
    if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "TD_BUILD=fuzz needs clang: cmake -DCMAKE_C_COMPILER=clang-14")
    endif()
    set(san -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
            -fno-omit-frame-pointer)
    list(APPEND TD_CFLAGS -O1 ${san})
    list(APPEND TD_LDFLAGS ${san})
elseif(TD_BUILD STREQUAL "coverage")
    list(APPEND TD_CFLAGS -O0 --coverage)
    list(APPEND TD_LDFLAGS --coverage)
else()
    message(FATAL_ERROR "unknown TD_BUILD '${TD_BUILD}'")
endif()
