/* fuzz_account.c - a stream of process.Process as the gateway follows it for a sandbox's log: the
 * first byte says how it is cut into pieces, the second where the request ends. However it is cut,
 * the same is told, in plain text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/e2b_data/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned told[2];

static void check_plain(const char *s, size_t size)
{
    for (; *s; s++, size--)
        if (size == 1 || *s < ' ' || *s > '~')
            abort();
}

static void count(struct account *a, enum account_what what)
{
    told[what]++;
    check_plain(a->program, sizeof a->program);
    check_plain(a->status, sizeof a->status);
    if (a->pid == 0 || told[ACCOUNT_STARTED] > 1 || told[ACCOUNT_ENDED] > 1)
        abort();
}

static void pass(void (*see)(struct http_tap *, const void *, size_t), struct account *a,
    const uint8_t *data, size_t size, size_t piece)
{
    for (size_t i = 0; i < size; i += piece)
        see(&a->tap, data + i, SMX_MIN(piece, size - i));
}

static void run(struct account *a, const uint8_t *data, size_t size, size_t asked, size_t piece)
{
    memset(told, 0, sizeof told);
    account_init(a, count);
    pass(a->tap.request, a, data, asked, piece);
    pass(a->tap.reply, a, data + asked, size - asked, piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct account whole, cut;
    unsigned starts, ends;
    size_t asked;

    if (size < 2)
        return 0;
    asked = SMX_MIN((size_t)data[1], size - 2);
    run(&whole, data + 2, size - 2, asked, size);
    starts = told[ACCOUNT_STARTED];
    ends = told[ACCOUNT_ENDED];
    run(&cut, data + 2, size - 2, asked, data[0] % 64 + 1);
    if (starts != told[ACCOUNT_STARTED] || ends != told[ACCOUNT_ENDED] || whole.pid != cut.pid ||
        strcmp(whole.program, cut.program) != 0 || strcmp(whole.status, cut.status) != 0)
        abort();
    return 0;
}
