/* test_main.c - runs the registered tests in order of appearance and prints TAP. argv[1]: only that
 * test. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/test.h"

static struct smx_test *first, **last = &first;
static int failed;
static const char *skipped;

void smx_test_add(struct smx_test *t)
{
    *last = t;
    last = &t->next;
}

void smx_test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    failed = 1;
    printf("# %s:%d: ", file, line);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

void smx_test_skip(const char *why)
{
    skipped = why;
}

int main(int argc, char **argv)
{
    int n = 0, bad = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct smx_test *t = first; t; t = t->next) {
        if (argc > 1 && strcmp(argv[1], t->name) != 0)
            continue;
        failed = 0;
        skipped = NULL;
        t->run();
        n++;
        bad += failed;
        printf("%s %d - %s%s%s\n", failed ? "not ok" : "ok", n, t->name, skipped ? " # SKIP " : "",
            skipped ? skipped : "");
    }
    printf("1..%d\n", n);
    return bad > 0;
}
