/* kill.h - ending a command and all that belongs to it. */
#ifndef SMX_AGENT_KILL_H
#define SMX_AGENT_KILL_H

#include <sys/types.h>

/* SIGKILL to the process, to its session and to all its descendants, again until a look at /proc
 * finds none left. The process was started with setsid() and is not reaped yet. */
void kill_tree(pid_t leader);
enum { KILL_NAME_SIZE = 32 };
/* "killed", "terminated", ..., "signal 34": as Go names them. */
void kill_signal_name(int signo, char text[KILL_NAME_SIZE]);

#endif
