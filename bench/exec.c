/* exec.c - execs one after another through libsandmux, as a C program makes them.
 * exec URL SANDBOX N prints one JSON line: microseconds and rate. */
#include <sandmux/process.h>

#include "bench.h"

int main(int argc, char **argv)
{
    static const char *const command[] = { "/usr/bin/true", NULL };
    struct smx_client_config config = { .url = argc == 4 ? argv[1] : NULL };
    struct smx_exec_spec spec = { .argv = command };
    struct smx_client *client;
    struct smx_err err;
    double *samples, begin;
    size_t n, errors = 0;

    if (argc != 4)
        return 2;
    n = (size_t)bench_number(argv[3]);
    samples = calloc(n, sizeof *samples);
    if (!samples || smx_client_open(&config, &client, &err) < 0)
        return 1;
    begin = bench_now_us();
    for (size_t i = 0; i < n; i++) {
        struct smx_exec_result *result;
        double started = bench_now_us();

        if (smx_exec(client, argv[2], &spec, &result, &err) == 0)
            smx_exec_result_free(result);
        else
            errors++;
        samples[i] = bench_now_us() - started;
    }
    bench_print(samples, n, errors, bench_now_us() - begin);
    free(samples);
    smx_client_close(client);
    return 0;
}
