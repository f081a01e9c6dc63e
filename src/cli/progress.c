/* progress.c - one line on stderr that says how far a transfer is; only on a terminal, only when it
 * takes longer than a second, and gone when it is done. */
#include "cli/cli.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { FIRST_MS = 1000, EVERY_MS = 200 };

void cli_progress_start(struct cli_progress *p, const char *what, uint64_t total)
{
    *p = (struct cli_progress){
        .what = what, .total = total, .started_ns = smx_now_ns(), .on = isatty(STDERR_FILENO)
    };
}

void cli_progress_add(struct cli_progress *p, uint64_t n)
{
    uint64_t now, elapsed;
    char done[32], total[32], rate[32];

    p->done += n;
    if (!p->on)
        return;
    now = smx_now_ns();
    elapsed = now - p->started_ns;
    if (elapsed < FIRST_MS * SMX_NS_PER_MS || now - p->shown_ns < EVERY_MS * SMX_NS_PER_MS)
        return;
    p->shown_ns = now;
    p->visible = true;
    cli_bytes(p->done, done, sizeof done);
    cli_bytes(p->done * 1000 / (elapsed / SMX_NS_PER_MS), rate, sizeof rate);
    if (p->total) {
        cli_bytes(p->total, total, sizeof total);
        dprintf(STDERR_FILENO, "\r\033[K%s: %s of %s, %s/s", p->what, done, total, rate);
    } else {
        dprintf(STDERR_FILENO, "\r\033[K%s: %s, %s/s", p->what, done, rate);
    }
}

void cli_progress_end(struct cli_progress *p)
{
    if (p->visible)
        dprintf(STDERR_FILENO, "\r\033[K");
    p->visible = p->on = false;
}
