/* Calls that have hurt C programs too often are compile errors here (included before every source of ours). */
#ifndef TRUC_BANNED_H
#define TRUC_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca /* a macro of glibc; what is poisoned must not be one */
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atof alloca gmtime localtime

#endif
