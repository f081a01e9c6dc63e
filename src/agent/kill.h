/* kill.h - ending a command and all that belongs to it. */
#ifndef SMX_AGENT_KILL_H
#define SMX_AGENT_KILL_H

#include <sys/types.h>

/* SIGKILL to the process, to its session and to all its descendants, again until a look at /proc
 * finds none left. The process was started with setsid() and is not reaped yet. */
void kill_tree(pid_t leader);
/* "killed", "terminated", ...: as Go names them. Static string. */
const char *kill_signal_name(int signo);

#endif
