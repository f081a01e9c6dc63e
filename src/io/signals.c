/* signals.c - signals as readable events. */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "io/priv.h"

int io_signals_init(struct io_signals *s, const int *signos, size_t n, struct smx_err *err)
{
    sigset_t set;
    int fd;

    s->fd.fd = -1;
    sigemptyset(&set);
    for (size_t i = 0; i < n; i++)
        sigaddset(&set, signos[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return smx_err_errno(err, errno, "blocking signals");
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return smx_err_errno(err, errno, "creating a signalfd");
    return io_fd_init(&s->fd, fd, err);
}

int io_signals_next(struct io_signals *s, uint64_t deadline_ns)
{
    struct signalfd_siginfo info;
    ssize_t r = io_read(&s->fd, &info, sizeof info, deadline_ns, /* err= */ NULL);

    if (r < 0)
        return (int)r;
    return (int)info.ssi_signo;
}

/* The signals stay blocked: one that is pending must not end the process in its clean-up. */
void io_signals_done(struct io_signals *s)
{
    io_fd_done(&s->fd);
}
