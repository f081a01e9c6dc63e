/* recover.c - what an engine does before it serves: finds the sandboxes of its predecessor by their
 * directories, goes on watching those that run, and takes away what was half made or half removed:
 * directories without a record, control groups without a directory, ranges of ids without a user.
 * A predecessor may have been killed between any two system calls. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"

enum { GONE_TIMEOUT_MS = 20000 };

/* [parks] Ends whatever is left in the control groups of an id. */
static void clear_groups(struct engine *e, const char *id)
{
    uint64_t deadline = smx_deadline_in_ms(GONE_TIMEOUT_MS);
    int r;

    cgroup_kill(&e->cgroups, id);
    while ((r = cgroup_remove(&e->cgroups, id)) < 0 && smx_now_ns() < deadline) {
        cgroup_kill(&e->cgroups, id);
        io_sleep_until(smx_deadline_in_ms(2));
    }
    if (r < 0)
        smx_warn("the control groups of %s cannot be removed: %s", id, strerror(-r));
}

/* [parks] */
static void discard(struct engine *e, const char *id)
{
    struct smx_err err = { 0 };

    smx_info("removing what is left of sandbox %s", id);
    clear_groups(e, id);
    if (renameat(e->boxes_fd, id, e->trash_fd, id) < 0 && errno != ENOENT)
        smx_warn("removing sandbox %s: %s", id, strerror(errno));
    if (hands_remove(&e->hands, id, &err) < 0)
        smx_warn("%s", err.msg);
}

/* After a restart of the host: no process, and a deadline on another clock. */
static int after_reboot(struct engine *e, struct meta *m)
{
    int64_t left = (int64_t)m->deadline_unix_ms - smx_now_unix_ms();
    char *boot_id = smx_strdup(e->boot_id);

    if (!boot_id)
        return -SMX_E_NO_MEMORY;
    smx_free(m->boot_id);
    m->boot_id = boot_id;
    if (m->pid != 0 || m->state != ENGINE_STATE_STOPPED)
        m->reason = ENGINE_REASON_REBOOT;
    m->state = ENGINE_STATE_STOPPED;
    m->pid = m->start_time = 0;
    m->slot = -1;
    if (m->has_deadline)
        m->deadline_ns = smx_deadline_in_ms(left > 0 ? (uint64_t)left : 0);
    return 0;
}

/* A descriptor of pid 1, if it is still the process that was started. */
static int open_process(const struct meta *m)
{
    int fd = m->pid ? pidfd_open((pid_t)m->pid, 0) : -1;

    if (fd >= 0 && process_start_time((pid_t)m->pid) != m->start_time) {
        smx_close(fd);
        fd = -1;
    }
    return fd;
}

/* A zombie that its new parent has not reaped has the right start time, and its end is seen by the
 * watch at once. */
static int go_on(struct box *b, int pidfd, struct smx_err *err)
{
    b->pidfd = pidfd;
    b->ooms_told = cgroup_ooms(&b->e->cgroups, box_group(b));
    b->m.state = cgroup_frozen(&b->e->cgroups, box_group(b)) == 1 ? ENGINE_STATE_PAUSED
                                                                  : ENGINE_STATE_RUNNING;
    io_event_clear(&b->ended);
    return watch_add(b, err);
}

/* [parks] It ended while no engine was there. */
static void ended_unseen(struct box *b)
{
    bool oom = cgroup_ooms(&b->e->cgroups, box_group(b)) > 0;

    clear_groups(b->e, box_group(b));
    if (b->m.state == ENGINE_STATE_STOPPING)
        b->m.reason = ENGINE_REASON_STOPPED;
    else if (b->m.state != ENGINE_STATE_STOPPED)
        b->m.reason = oom ? ENGINE_REASON_OOM : ENGINE_REASON_LOST;
    b->m.state = ENGINE_STATE_STOPPED;
    b->m.pid = b->m.start_time = 0;
    b->m.slot = -1;
}

static bool is_whole(const struct meta *m, const char *id)
{
    return smx_streq(m->id, id) && m->state != ENGINE_STATE_CREATING &&
           m->state != ENGINE_STATE_DELETING && m->state != ENGINE_STATE_GONE &&
           smx_name_valid(m->template) && !strchr(m->generation, '/') && m->generation[0] != '.' &&
           m->slot < SLOT_COUNT &&
           (!m->group || (smx_starts(m->group, CG_READY) && smx_name_valid(m->group)));
}

/* [parks] A stop that had begun when the engine was killed: its processes were asked to end. */
static void finish_stop(struct box *b)
{
    struct smx_err err = { 0 };

    if (box_stop(b, /* grace_ms= */ 0, &err) < 0)
        smx_warn("sandbox %s was being stopped: %s", b->m.id, err.msg);
}

/* [parks] Takes the meta. */
static int resurrect(struct engine *e, struct meta *m, int box_fd, struct smx_err *err)
{
    bool rebooted = !smx_streq(m->boot_id, e->boot_id);
    bool stopping = m->state == ENGINE_STATE_STOPPING;
    struct box *b;
    int r = rebooted ? after_reboot(e, m) : 0;
    int pidfd = rebooted ? -1 : open_process(m);

    if (r < 0) {
        json_free(&meta_table, m);
        return r;
    }
    r = box_adopt(e, m, &b, err);
    if (r < 0) {
        smx_close(pidfd);
        return r;
    }
    if (pidfd >= 0) {
        r = go_on(b, pidfd, err);
        if (r == 0 && stopping)
            finish_stop(b);
        return r;
    }
    ended_unseen(b);
    return meta_write(box_fd, &b->m, err);
}

/* [parks] */
static int recover_one(struct engine *e, const char *id, struct smx_err *err)
{
    SMX_CLEANUP(smx_closep)
    int fd = openat(e->boxes_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct smx_err why = { 0 };
    struct meta m = { 0 };

    if (fd < 0 || meta_read(fd, &m, &why) < 0) {
        if (faccessat(fd, "meta.json", F_OK, 0) == 0)
            smx_warn("sandbox %s: %s", id, why.msg);
        discard(e, id);
        return 0;
    }
    if (!is_whole(&m, id)) {
        json_free(&meta_table, &m);
        discard(e, id);
        return 0;
    }
    return resurrect(e, &m, fd, err);
}

typedef int(entry_fn)(struct engine *e, const char *name, struct smx_err *err);

/* [parks] Calls fn for the names in a directory, read beforehand because fn changes it. */
static int each_entry(struct engine *e, int dir_fd, entry_fn *fn, struct smx_err *err)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct smx_buf names;

    if (!d) {
        smx_close(fd);
        return smx_err_errno(err, errno, "reading the state directory");
    }
    smx_buf_init(&names, SIZE_MAX / 2);
    for (struct dirent *de; (de = readdir(d)) != NULL;)
        if (!smx_streq(de->d_name, ".") && !smx_streq(de->d_name, ".."))
            smx_buf_append(&names, de->d_name, strlen(de->d_name) + 1);
    closedir(d);
    r = smx_buf_check(&names, err);
    for (size_t i = 0; r == 0 && i < names.len; i += strlen(names.data + i) + 1)
        r = fn(e, names.data + i, err);
    smx_buf_done(&names);
    return r;
}

static int recover_entry(struct engine *e, const char *name, struct smx_err *err)
{
    if (smx_id_valid(name))
        return recover_one(e, name, err);
    smx_warn("sandboxes/%.64s is none of ours and stays", name);
    return 0;
}

static int empty_entry(struct engine *e, const char *name, struct smx_err *err)
{
    struct smx_err why = { 0 };

    if (smx_id_valid(name))
        clear_groups(e, name);
    if (hands_remove(&e->hands, name, &why) < 0)
        smx_warn("%s", why.msg);
    return 0;
}

struct orphans {
    struct smx_map owners; /* by the name of their groups */
    struct smx_buf ids;
};

static void note_orphan(const char *id, void *arg)
{
    struct orphans *o = arg;

    if (!smx_map_get(&o->owners, id))
        smx_buf_append(&o->ids, id, strlen(id) + 1);
}

static int find_owners(struct engine *e, struct smx_map *owners)
{
    struct box *b;
    size_t pos = 0;
    int r = 0;

    while (r == 0 && (b = smx_map_next(&e->boxes, &pos)) != NULL)
        r = smx_map_put(owners, box_group(b), b);
    return r;
}

/* [parks] Control groups that belong to no directory. */
static void clear_orphans(struct engine *e)
{
    struct orphans o;

    smx_map_init(&o.owners);
    smx_buf_init(&o.ids, SIZE_MAX / 2);
    if (find_owners(e, &o.owners) == 0)
        cgroup_each(&e->cgroups, note_orphan, &o);
    for (size_t i = 0; i < o.ids.len; i += strlen(o.ids.data + i) + 1)
        clear_groups(e, o.ids.data + i);
    smx_buf_done(&o.ids);
    smx_map_done(&o.owners);
}

static bool slot_used(int slot, void *arg)
{
    struct engine *e = arg;
    struct box *b;
    size_t pos = 0;

    while ((b = smx_map_next(&e->boxes, &pos)) != NULL)
        if (b->m.slot == slot)
            return true;
    return false;
}

static bool generation_used(struct engine *e, const char *generation)
{
    struct box *b;
    size_t pos = 0;

    if (smx_streq(generation, e->base.generation))
        return true;
    while ((b = smx_map_next(&e->boxes, &pos)) != NULL)
        if (smx_streq(b->m.generation, generation))
            return true;
    return false;
}

static int sweep_generation(struct engine *e, const char *name, struct smx_err *err)
{
    char path[NAME_MAX + 8];

    if (generation_used(e, name))
        return 0;
    snprintf(path, sizeof path, "base/%s", name);
    if (renameat(e->templates_fd, path, e->trash_fd, name) == 0)
        empty_entry(e, name, err);
    return 0;
}

void recover_templates(struct engine *e)
{
    SMX_CLEANUP(smx_closep)
    int fd = openat(e->templates_fd, "base", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0 && e->base.fd >= 0)
        each_entry(e, fd, sweep_generation, NULL);
}

int recover_all(struct engine *e, struct smx_err *err)
{
    int r = each_entry(e, e->trash_fd, empty_entry, err);

    if (r == 0)
        r = each_entry(e, e->boxes_fd, recover_entry, err);
    if (r < 0)
        return r;
    clear_orphans(e);
    return slots_sweep(&e->slots, slot_used, e, err);
}
