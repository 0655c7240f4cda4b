/* Forced into every C file (-include): a call of one of these does not compile. The system's own
 * declarations are read first, so that only our calls are caught. */
#ifndef TD_BASE_BANNED_H
#define TD_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BANNED(fn) td_banned_##fn##_use_the_bounded_form

#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#define strcpy(...) BANNED(strcpy)
#define strcat(...) BANNED(strcat)
#define strncpy(...) BANNED(strncpy)
#define strncat(...) BANNED(strncat)
#define sprintf(...) BANNED(sprintf)
#define vsprintf(...) BANNED(vsprintf)
#define strtok(...) BANNED(strtok)
#define gmtime(...) BANNED(gmtime)
#define localtime(...) BANNED(localtime)
#define asctime(...) BANNED(asctime)
#define ctime(...) BANNED(ctime)
#define atoi(...) BANNED(atoi)
#define atol(...) BANNED(atol)
#define atoll(...) BANNED(atoll)
#define strtol(...) BANNED(strtol)
#define strtoul(...) BANNED(strtoul)
#define strtoll(...) BANNED(strtoll)
#define strtoull(...) BANNED(strtoull)
#define sscanf(...) BANNED(sscanf)
#define rand(...) BANNED(rand)
#undef alloca
#define alloca(...) BANNED(alloca)
#define system(...) BANNED(system)
#define popen(...) BANNED(popen)
#define tmpnam(...) BANNED(tmpnam)
#define mktemp(...) BANNED(mktemp)
#define getenv(...) BANNED(getenv)

#endif
