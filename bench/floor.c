/* floor.c - what the machine itself needs: fork+exec+wait of a program, at a concurrency.
 * floor [-c CONCURRENCY] [-n TOTAL] PROGRAM [ARG...] prints one JSON line: microseconds and rate.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

struct slot {
    pid_t pid;
    double started;
};

static pid_t start(char **argv)
{
    pid_t pid = fork();

    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static int find_slot(struct slot *slots, int n, pid_t pid)
{
    for (int i = 0; i < n; i++)
        if (slots[i].pid == pid)
            return i;
    return -1;
}

int main(int argc, char **argv)
{
    int concurrency = 1, total = 500, opt, started = 0, ended = 0;
    struct slot *slots;
    double *samples, begin;

    while ((opt = getopt(argc, argv, "+c:n:")) != -1) {
        if (opt == 'c')
            concurrency = (int)bench_number(optarg);
        else if (opt == 'n')
            total = (int)bench_number(optarg);
        else
            return 2;
    }
    if (optind == argc)
        return 2;
    slots = calloc((size_t)concurrency, sizeof *slots);
    samples = calloc((size_t)total, sizeof *samples);
    if (!slots || !samples)
        return 1;
    begin = bench_now_us();
    for (; started < concurrency && started < total; started++)
        slots[started] = (struct slot){ start(argv + optind), bench_now_us() };
    while (ended < total) {
        int status, i = find_slot(slots, concurrency, wait(&status));

        if (i < 0)
            return 1;
        samples[ended++] = bench_now_us() - slots[i].started;
        slots[i].pid = -1;
        if (started++ < total) {
            slots[i].started = bench_now_us();
            slots[i].pid = start(argv + optind);
        }
    }
    bench_print(samples, (size_t)total, 0, bench_now_us() - begin);
    free(slots);
    free(samples);
    return 0;
}
