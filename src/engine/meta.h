/* meta.h - what the engine writes down about a sandbox: sandboxes/<id>/meta.json. The directory is
 * the truth; an engine keeps nothing that is not there or in the kernel. */
#ifndef SMX_ENGINE_META_H
#define SMX_ENGINE_META_H

#include <sys/types.h>

#include "base/random.h"
#include "json/json.h"
#include "wire/engine/engine_wire.h"

enum { META_FORMAT = 1, BOOT_ID_SIZE = 37 };

struct meta {
    uint64_t format;
    char *id;
    char *token;
    char *template;
    char *generation;
    char *hostname;
    int state;
    int reason;
    struct engine_resources resources;
    uint64_t created_unix_ms;
    uint64_t deadline_ns; /* CLOCK_BOOTTIME of boot_id */
    bool has_deadline;
    uint64_t deadline_unix_ms; /* for after a restart of the host */
    int at_expiry;
    char *boot_id;
    uint64_t pid; /* 0: no process */
    uint64_t start_time;
    int64_t slot; /* -1: none */
    char *group;  /* name of its control groups; NULL: its id */
};

extern const struct json_table meta_table;

/* Writes meta.new without renaming it, or meta.json whole. */
int meta_prepare(int box_fd, const struct meta *m, struct smx_err *err);
int meta_commit(int box_fd, struct smx_err *err);
int meta_write(int box_fd, const struct meta *m, struct smx_err *err);
/* Free with json_free(&meta_table, ret). */
int meta_read(int box_fd, struct meta *ret, struct smx_err *err);

/* The host's boot id; the process's start time in clock ticks, 0 when it is not there. */
void host_boot_id(char out[BOOT_ID_SIZE]);
uint64_t process_start_time(pid_t pid);

#endif
