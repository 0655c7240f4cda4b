/* A file of the tree, as it is, in the program: the bytes that run are those in git. CMakeLists.txt
 * names it in OBJECT_DEPENDS of the file that embeds it. A zero stands behind it. */
#ifndef TD_BASE_EMBED_H
#define TD_BASE_EMBED_H

#include <stdint.h>

#define EMBED(symbol, file)                                                                        \
    __asm__(".pushsection .rodata\n"                                                               \
            "embed_" #symbol ":\n"                                                                 \
            ".incbin \"" file "\"\n"                                                               \
            "embed_" #symbol "_end:\n"                                                             \
            ".byte 0\n"                                                                            \
            ".popsection\n");                                                                      \
    extern const uint8_t symbol[] __asm__("embed_" #symbol);                                       \
    extern const uint8_t symbol##_end[] __asm__("embed_" #symbol "_end")

#endif
