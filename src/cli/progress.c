/* progress.c - one line on stderr that says how far a transfer is, or what is waited for; only on a
 * terminal, only when it takes longer than a second, and gone when it is done. What is waited for
 * is shown by a timer's signal, since the call that waits blocks: one at a time, hence static. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
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

/* --- waiting ------------------------------------------------------------------------------------
 */

static char waiting_for[96];
static volatile sig_atomic_t waited_s;

static void set_timer(long seconds)
{
    struct itimerval timer = { { seconds, 0 }, { seconds, 0 } };

    setitimer(ITIMER_REAL, &timer, /* old_value= */ NULL);
}

static void tick(int signo)
{
    static const char clear[] = "\r\033[K", dots[] = " ....................";
    size_t n = SMX_MIN((size_t)waited_s, sizeof dots - 3) + 2;
    int saved = errno;

    (void)signo;
    waited_s++;
    if (write(STDERR_FILENO, clear, sizeof clear - 1) < 0 ||
        write(STDERR_FILENO, waiting_for, strlen(waiting_for)) < 0 ||
        write(STDERR_FILENO, dots, n) < 0)
        set_timer(0); /* the terminal has gone */
    errno = saved;
}

void cli_wait_start(const char *what)
{
    struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART };

    if (!isatty(STDERR_FILENO))
        return;
    snprintf(waiting_for, sizeof waiting_for, "%s", what);
    waited_s = 0;
    sigaction(SIGALRM, &action, /* oldact= */ NULL);
    set_timer(1);
}

void cli_wait_end(void)
{
    if (!waiting_for[0])
        return;
    set_timer(0);
    if (waited_s > 0)
        dprintf(STDERR_FILENO, "\r\033[K");
    waiting_for[0] = '\0';
}
