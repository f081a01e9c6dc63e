/* terminal.c - raw mode of stdin. What was there before is put back by terminal_restore(), which
 * also runs at exit; the signals that would end us come by signalfd (stream.c), so every way out
 * but SIGKILL passes here. One terminal a process: the state is static. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool raw;

void terminal_restore(void)
{
    if (raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    raw = false;
}

int terminal_raw(struct smx_err *err)
{
    static bool registered;
    struct termios now;

    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return smx_err_errno(err, errno, "reading the terminal's settings");
    now = before;
    cfmakeraw(&now);
    if (!registered)
        atexit(terminal_restore);
    registered = true;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &now) < 0)
        return smx_err_errno(err, errno, "changing the terminal's settings");
    raw = true;
    return 0;
}

bool terminal_size(unsigned *ret_cols, unsigned *ret_rows)
{
    static const int fds[] = { STDOUT_FILENO, STDIN_FILENO, STDERR_FILENO };
    struct winsize w;

    for (size_t i = 0; i < SMX_ARRAY_LEN(fds); i++) {
        if (ioctl(fds[i], TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0) {
            *ret_cols = w.ws_col;
            *ret_rows = w.ws_row;
            return true;
        }
    }
    return false;
}
