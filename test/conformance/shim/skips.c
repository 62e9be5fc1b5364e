/*
 * Shows what iscsi-test-cu hides: CUnit counts a test that skips itself as passed. A skip is a CU_PASS("reason"), and
 * not every one is printed. This stands between the tester and CUnit and writes each skip and each failure, one to a
 * line, to the file that CU_TRACE names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*assert_fn)(int, unsigned int, const char *, const char *, const char *, int);

int CU_assertImplementation(int value, unsigned int line, const char *condition, const char *file,
                            const char *function, int fatal)
{
        static assert_fn real;
        static FILE *trace;
        const char *kind = NULL;

        if (!real) {
                const char *path = getenv("CU_TRACE");
                real = (assert_fn)dlsym(RTLD_NEXT, "CU_assertImplementation");
                trace = path ? fopen(path, "a") : NULL;
                if (!real || !trace) {
                        fprintf(stderr, "shim: CU_TRACE cannot be written, or CUnit is not there\n");
                        exit(99);
                }
        }
        if (!value)
                kind = "fail";
        else if (!strncmp(condition, "CU_PASS(", 8))
                kind = "skip";
        if (kind) {
                fprintf(trace, "%s\t%s:%u\t%s\n", kind, file, line, condition);
                fflush(trace); /* a fatal failure leaves by longjmp */
        }
        return real(value, line, condition, file, function, fatal);
}
