/* internal.h - what the files of the supervisor share. One process, one thread, blocking calls. */
#ifndef SMX_SUPERVISOR_INTERNAL_H
#define SMX_SUPERVISOR_INTERNAL_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "supervisor/supervisor.h"

enum { GATEWAY_UID = 62000 }; /* where no user `sandmux` exists; needs no entry in passwd */

/* A program that is kept running. */
struct keeper {
    const char *program; /* "sandmux-engine" */
    int exec_fd;         /* its file, opened at start */
    pid_t pid;           /* 0: not running */
    uint64_t started_ns;
    uint64_t start_at_ns; /* when it is due again; SMX_FOREVER: never */
    unsigned restarts;    /* since the supervisor started */
    unsigned failures;    /* in a row, for the back-off */
    bool renewing;        /* it was asked to end, to be started with other settings */
};

/* Certificate and key of the HTTPS listener as files in memory, for this gateway and the next. */
struct tls_pair_fds {
    int cert, key; /* -1: none */
};
struct tls_files {
    struct tls_pair_fds now, next; /* next: sent to the gateway, which has not answered yet */
    int watch_fd;                  /* inotify on their directories, or -1 */
    uint64_t check_at_ns;          /* they may have changed: look then; SMX_FOREVER: no */
};

struct supervisor {
    const struct config *config;
    struct config *reloaded; /* owned; what config points to after a change of .env */
    struct config_places places;
    bool automatic, root;
    uid_t gateway_uid;
    gid_t gateway_gid;
    int lock_fd, engine_dir_fd, tcp_fd, tls_fd, unix_fd, signal_fd;
    struct tls_files tls;
    int dotenv_fd;               /* inotify on the directory of .env, or -1 */
    int control_fd;              /* our end of the pair with the gateway */
    int engine_end, gateway_end; /* ends of the pair between both, waiting for their process */
    char gateway_dir[1100], engine_dir[1100], agent[1100];
    char url[96]; /* of the TCP listener, else of the TLS listener, or empty */
    struct keeper gateway, engine;
    bool ready; /* the gateway said so once */
    bool stopping;
    uint64_t kill_at_ns; /* while stopping */
    int exit_status;
};

/* state.c */
int state_open(struct supervisor *s, struct smx_err *err);
void state_note_gateway(struct supervisor *s); /* for the next supervisor: pid and start time */
void state_note_address(struct supervisor *s);
void state_close(struct supervisor *s);

/* listeners.c */
int listeners_open(struct supervisor *s, struct smx_err *err);
void listeners_close(struct supervisor *s);

/* holder.c: "1234 (nginx)" of who listens on a TCP port, or "" when nobody can be named */
void holder_of_port(uint16_t port, char *out, size_t size);

/* programs.c */
int programs_find(struct supervisor *s, struct smx_err *err);

/* spawn.c: starts the program with descriptors 3.. = fds; a negative code when even exec failed */
struct spawn_spec {
    char *const *argv, *const *envp;
    const int *fds;
    size_t nfds;
    const char *listen_names; /* LISTEN_FDNAMES, or NULL for none */
    bool drop;                /* become the gateway's uid, without privilege */
    uid_t uid;
    gid_t gid;
    const char *must_reach; /* directory that the new uid has to be able to use, or NULL */
};
int spawn_program(struct keeper *k, const struct spawn_spec *spec, struct smx_err *err);

/* handover.c: gives a running engine its new gateway end (taken) through its control socket */
int handover_to_engine(struct supervisor *s, int fd, struct smx_err *err);

/* dotenv_watch.c */
int dotenv_watch_open(struct supervisor *s, struct smx_err *err);
void dotenv_watch_react(struct supervisor *s);

/* tls_files.c */
int tls_files_open(struct supervisor *s, struct smx_err *err);
void tls_files_close(struct supervisor *s);
void tls_files_react(struct supervisor *s); /* events of watch_fd */
void tls_files_check(
    struct supervisor *s); /* now: reads them again, hands changes to the gateway */
void tls_files_answer(struct supervisor *s, bool taken); /* what the gateway said of the next */

/* notify.c */
void notify_systemd(const char *text);

#endif
