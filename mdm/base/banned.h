/* Forced into every C file (-include): the functions below do not compile, and the assertion
 * macro of the language is spelled static_assert through <assert.h> alone. */
#ifndef TD_BASE_BANNED_H
#define TD_BASE_BANNED_H

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gets
#pragma GCC poison gmtime localtime asctime ctime
#pragma GCC poison atoi atol atoll sscanf
#pragma GCC poison alloca system popen tmpnam mktemp

#endif
