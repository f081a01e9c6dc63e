/* slots.h - ranges of user ids, shared by all engines of the host. A slot is 65 537 ids: 65 536
 * that a sandbox sees as 0..65535, and one above them, unmapped inside, for its agent. A slot is
 * taken by a symbolic link /run/sandmux/slots/<number> that names the state directory of its
 * engine; a link that dangles belongs to nobody. A flock covers look and change. */
#ifndef SMX_ENGINE_SLOTS_H
#define SMX_ENGINE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/limits.h"

enum { SLOT_IDS = 65536, SLOT_COUNT = 30000 };
#define SLOT_FIRST_ID UINT32_C(1879048192)

struct slots {
    int dir_fd;
    int lock_fd;
    unsigned cursor; /* the next one to try */
    char owner[SMX_PATH_MAX];
};

static inline uid_t slot_base(int slot)
{
    return SLOT_FIRST_ID + (uid_t)slot * (SLOT_IDS + 1);
}

static inline uid_t slot_agent(int slot)
{
    return slot_base(slot) + SLOT_IDS;
}

/* @run_dir: /run/sandmux, made when it is not there. @owner: absolute path of the state directory.
 */
int slots_open(struct slots *s, const char *run_dir, const char *owner, struct smx_err *err);
void slots_close(struct slots *s);
int slot_take(struct slots *s, int *ret_slot, struct smx_err *err);
void slot_release(struct slots *s, int slot);
/* Releases the slots that are ours but not in use, and those that nobody owns any more. */
typedef bool(slot_used_fn)(int slot, void *arg);
int slots_sweep(struct slots *s, slot_used_fn *used, void *arg, struct smx_err *err);
/* Another state directory that exists has ranges; also when that cannot be found out. */
bool slots_of_others(struct slots *s);

#endif
