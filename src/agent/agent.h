/* agent.h - what the parts of the agent share: one loop, one thread, one of each. */
#ifndef SMX_AGENT_AGENT_H
#define SMX_AGENT_AGENT_H

#include "agent/children.h"
#include "agent/drain.h"
#include "agent/metrics.h"
#include "agent/process.h"
#include "agent/users.h"
#include "http/server.h"
#include "io/io.h"
#include "wire/envd/envd.h"

struct agent {
    struct io_loop *loop;
    struct http_server *server;
    struct users users;
    struct children children;
    struct drain drain;
    struct process_table processes;
    struct metrics metrics;
    struct io_timer trim;        /* armed after work: gives free memory back */
    struct io_sem file_children; /* free places for forked file calls */
    struct smx_list watchers;    /* those that are polled */
    size_t nwatchers;
    size_t watches; /* directories of all watches */
    /* what /init set */
    struct envd_init_request settings;
};

/* The user that a name means; NULL or "": the one /init set, else root. */
int agent_user_find(struct agent *a, const char *name, struct agent_user *ret, struct smx_err *err);

/* Some work was done: a while later what it left free goes back to the system. */
void agent_worked(struct agent *a);
/* Runs the timer above. */
void agent_trim(void *arg);

/* Every request; ctx is the struct agent. */
void agent_handle(struct http_exchange *x, void *ctx);

#endif
