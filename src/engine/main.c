/* main.c - sandmux-engine: options, start, end. One thread; everything after the start happens in
 * fibers. SIGTERM ends the engine and leaves the sandboxes: the next engine finds them. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/filemax.h"
#include "engine/host.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

enum { REFILL_FAST_MS = 2, REFILL_SLOW_MS = 10, QUIET_NS = 20000000 };
enum {
    READY_DEFAULT = 4,
    USERNS_LOW = 16,
    ROOMS_LOW = 16,
    ROOMS_DEFAULT_MAX = 128,
    ROOM_KIB = 190
};

/* --- options -----------------------------------------------------------------------------------
 */

struct option_row {
    const char *name;
    size_t text;   /* offset of a const char *, or */
    size_t number; /* offset of a uint64_t */
    const char *help;
};

#define AT(member) (1 + offsetof(struct engine_config, member))

static const struct option_row rows[] = {
    { "state-dir", AT(state_dir), 0, "directory of the engine's own, 0700" },
    { "instance", AT(instance), 0, "name of this installation on the host" },
    { "agent", AT(agent_path), 0, "the program sandmux-agent" },
    { "run-dir", AT(run_dir), 0, "what all engines of the host share (/run/sandmux)" },
    { "gateway-fd", 0, AT(gateway_fd), "inherited socket of the gateway" },
    { "cpu-milli", 0, AT(defaults.cpu_milli), "default of a sandbox: thousandths of a core" },
    { "memory-mib", 0, AT(defaults.memory_mib), "default of a sandbox" },
    { "disk-mib", 0, AT(defaults.disk_mib), "default of a sandbox" },
    { "pids", 0, AT(defaults.pids), "default of a sandbox: processes and threads" },
    { "rooms", 0, AT(rooms), "kept ready for creates (a thousandth of the memory; 0: none)" },
    { "ready", 0, AT(ready), "rooms in which an agent waits already (4; at most half of them)" },
    { "reserve-mib", 0, AT(reserve_mib), "disk space that the host keeps (and at most 10 %)" },
};

static void usage(FILE *out)
{
    fputs("usage: sandmux-engine --state-dir DIR --instance NAME --agent FILE [options]\n\n"
          "Makes and holds local sandboxes; started by 'sandmux serve', as root.\n\n",
        out);
    for (size_t i = 0; i < SMX_ARRAY_LEN(rows); i++)
        fprintf(out, "  --%-12s %s\n", rows[i].name, rows[i].help);
}

static int set_option(struct engine_config *cfg, const struct option_row *row, const char *value)
{
    uint64_t n;

    if (row->text) {
        *(const char **)(void *)((char *)cfg + row->text - 1) = value;
        return 0;
    }
    if (!smx_parse_u64(smx_view_of(value), INT32_MAX, &n)) {
        fprintf(stderr, "sandmux-engine: --%s: '%s' is not a number\n", row->name, value);
        return 2;
    }
    *(uint64_t *)(void *)((char *)cfg + row->number - 1) = n;
    return 0;
}

static int parse_options(int argc, char **argv, struct engine_config *cfg)
{
    struct option longs[SMX_ARRAY_LEN(rows) + 3] = { { 0 } };
    size_t n = SMX_ARRAY_LEN(rows);
    int c;

    for (size_t i = 0; i < n; i++)
        longs[i] = (struct option){ rows[i].name, required_argument, NULL, 256 + (int)i };
    longs[n] = (struct option){ "help", no_argument, NULL, 'h' };
    longs[n + 1] = (struct option){ "version", no_argument, NULL, 'v' };
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
        if (c == 'h' || c == 'v') {
            if (c == 'h')
                usage(stdout);
            else
                puts("sandmux-engine " SMX_VERSION);
            return 1;
        }
        if (c < 256 || set_option(cfg, &rows[c - 256], optarg) != 0)
            return 2;
    }
    cfg->rooms = SMX_MIN(cfg->rooms, (uint64_t)ROOMS_MAX);
    cfg->ready = SMX_MIN(cfg->ready, (uint64_t)READY_MAX);
    if (optind < argc || !cfg->state_dir || !cfg->instance || !cfg->agent_path ||
        cfg->state_dir[0] != '/') {
        usage(stderr);
        return 2;
    }
    return 0;
}

/* --- start -------------------------------------------------------------------------------------
 */

static void raise_descriptor_limit(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
        return;
    lim.rlim_cur = lim.rlim_max;
    setrlimit(RLIMIT_NOFILE, &lim);
}

/* A copy of the program that can be executed and not read by who becomes the agent: its memory and
 * what /proc shows of it are then out of reach of the root inside. -1: not possible here. */
static int hide_program(int program)
{
    SMX_CLEANUP(smx_closep) int copy = memfd_create("sandmux-agent", MFD_CLOEXEC | MFD_EXEC);
    char path[32];
    struct stat st;

    if (copy < 0)
        copy = memfd_create("sandmux-agent", MFD_CLOEXEC); /* before Linux 6.3 */
    if (copy < 0 || fstat(program, &st) < 0)
        return -1;
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = sendfile(copy, program, NULL, (size_t)left);

        if (n <= 0)
            return -1;
        left -= n;
    }
    if (fchmod(copy, (st.st_mode & 0111) | S_IRUSR) < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", copy);
    return open(path, O_RDONLY | O_CLOEXEC); /* what is open for writing cannot be executed */
}

static int open_agent(struct engine *e)
{
    SMX_CLEANUP(smx_closep) int fd = open(e->cfg.agent_path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        smx_warn("the agent cannot be opened: %s: %s", e->cfg.agent_path, strerror(errno));
        return 0;
    }
    e->agent_fd = hide_program(fd);
    if (e->agent_fd < 0) {
        smx_warn("the agent's program cannot be hidden from sandboxes: %s", strerror(errno));
        e->agent_fd = smx_take_fd(&fd);
    }
    return 0;
}

static bool is_few(const struct engine *e)
{
    return ready_few(e) || e->rooms.n < SMX_MIN(e->cfg.rooms, (uint64_t)ROOMS_LOW) ||
           e->userns.n < USERNS_LOW;
}

/* [parks] Makes one thing ahead of time: a room, or what one is made of when they run out. False
 * when there is enough of everything or something failed. */
static bool refill_one(struct engine *e)
{
    int r;

    if (!is_few(e) && smx_now_ns() - e->asked_ns < QUIET_NS)
        return true; /* later: who asks comes first */
    r = ready_fill(e, NULL);
    if (r == 1)
        r = rooms_fill(e, NULL);
    if (r == 1 && e->skeletons.n <= e->userns.n)
        r = skeletons_fill(&e->skeletons, NULL);
    if (r == 1)
        r = userns_pool_fill(&e->userns, NULL);
    return r == 0;
}

/* While nothing else is to do: what a few creates need quickly, what a crowd needs by and by. */
static void refill_main(void *arg)
{
    struct engine *e = arg;

    while (io_event_wait(&e->refill, SMX_FOREVER) == 0) {
        if (e->creating > 0 || !refill_one(e))
            io_event_clear(&e->refill); /* set again at the end of each create */
        else if (io_sleep_until(smx_deadline_in_ms(is_few(e) ? REFILL_FAST_MS : REFILL_SLOW_MS)) <
                 0)
            return;
    }
}

static int start_parts(struct engine *e, struct smx_err *err)
{
    int r = hands_start(&e->hands, e->loop, e->boxes_fd, e->trash_fd, e->pool_fd, err);

    if (r == 0)
        r = watch_start(e, err);
    if (r == 0)
        r = recover_all(e, err);
    if (r < 0)
        return r;
    if (skeletons_start(&e->skeletons, e->pool_fd, e->boxes_fd, &e->hands) < 0)
        smx_warn("the pool of directories cannot be read");
    r = template_base_open(e->templates_fd, &e->base, err);
    if (r < 0)
        smx_error("%s", err->msg);
    recover_templates(e);
    report_probe(e);
    if (e->why)
        smx_warn("creates are refused: %s", e->why);
    r = control_start(e, err);
    if (r == 0)
        r = disk_watch_start(e, err);
    if (r == 0)
        r = io_fiber_spawn(e->loop, "refill", refill_main, e, NULL, err);
    return r;
}

static void start_main(void *arg)
{
    struct engine *e = arg;
    struct smx_err err = { 0 };
    int r = start_parts(e, &err);

    if (r == 0 && e->cfg.gateway_fd > 0)
        r = gateway_serve(e, (int)e->cfg.gateway_fd, &err);
    if (r < 0) {
        smx_error("%s", err.msg);
        e->failed = true;
        io_loop_stop(e->loop);
        return;
    }
    io_event_set(&e->refill);
    smx_info("ready instance=%s sandboxes=%zu cgroup=%s", e->cfg.instance, e->boxes.count,
        e->cgroups.layout);
}

/* --- end ---------------------------------------------------------------------------------------
 */

void engine_maybe_leave(struct engine *e)
{
    e->orphan = e->orphan || getppid() != e->parent;
    if (!e->orphan || e->gateway || e->boxes.count > 0 || e->stopping)
        return;
    smx_info("no supervisor, no gateway and no sandbox: leaving");
    e->stopping = true;
    io_loop_stop(e->loop);
}

/* SIGUSR1 is the parent-death signal. */
static void signals_main(void *arg)
{
    static const int wanted[] = { SIGTERM, SIGINT, SIGUSR1 };
    struct engine *e = arg;
    struct io_signals s;
    struct smx_err err = { 0 };
    int signo;

    if (io_signals_init(&s, wanted, SMX_ARRAY_LEN(wanted), &err) < 0) {
        smx_error("%s", err.msg);
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    e->orphan = getppid() != e->parent;
    while ((signo = io_signals_next(&s, SMX_FOREVER)) > 0) {
        if (signo == SIGUSR1) {
            e->orphan = true;
            engine_maybe_leave(e);
            continue;
        }
        smx_info("leaving on signal %d; %zu sandboxes stay", signo, e->boxes.count);
        e->stopping = true;
        io_loop_stop(e->loop);
    }
    io_signals_done(&s);
}

/* Before the loop goes: what is registered there. */
static void disarm_all(struct engine *e)
{
    struct box *b;
    size_t pos = 0;

    e->stopping = true;
    while ((b = smx_map_next(&e->boxes, &pos)) != NULL)
        io_timer_disarm(&b->timer);
}

static void engine_done(struct engine *e)
{
    struct box *b;
    size_t pos = 0;
    bool empty = e->boxes.count == 0;

    while ((b = smx_map_next(&e->boxes, &pos)) != NULL) {
        smx_map_remove(&e->boxes, b->m.id);
        box_unref(b);
    }
    hands_done(&e->hands);
    ready_done(e);
    rooms_done(e);
    userns_pool_done(&e->userns);
    if (empty)
        filemax_restore(&e->slots);
    slots_close(&e->slots);
    template_close(&e->base);
    cgroups_done(&e->cgroups, /* remove= */ empty);
    smx_map_done(&e->boxes);
    smx_free(e->why);
    smx_close(e->watch.fd);
    smx_close(e->control.fd);
    smx_close(e->agent_fd);
    host_close(e);
}

static int open_all(struct engine *e, struct smx_err *err)
{
    int r = host_open(e, err);

    host_boot_id(e->boot_id);
    if (r == 0)
        r = open_agent(e);
    if (r == 0)
        r = cgroups_init(&e->cgroups, e->cfg.instance, err);
    if (r == 0)
        r = seccomp_filter_build(&e->seccomp, err);
    if (r == 0)
        r = slots_open(&e->slots, e->cfg.run_dir, e->cfg.state_dir, err);
    if (r == 0 && e->cgroups.has & CG_MEMORY)
        filemax_raise(&e->slots);
    userns_pool_init(&e->userns, &e->slots);
    if (r == 0)
        r = io_loop_new(&e->loop, err);
    return r;
}

static int run(struct engine *e, struct smx_err *err)
{
    int r = open_all(e, err);

    if (r == 0)
        r = io_fiber_spawn(e->loop, "signals", signals_main, e, NULL, err);
    if (r == 0)
        r = io_fiber_spawn(e->loop, "start", start_main, e, NULL, err);
    if (r == 0)
        r = io_loop_run(e->loop, err);
    disarm_all(e);
    io_loop_free(e->loop);
    engine_done(e);
    return r < 0 || e->failed ? -1 : 0;
}

/* What a thousandth of the host's memory holds. */
static uint64_t rooms_default(void)
{
    struct sysinfo si;

    if (sysinfo(&si) < 0)
        return 0;
    return SMX_MIN(
        (uint64_t)si.totalram * si.mem_unit / 1024 / 1000 / ROOM_KIB, (uint64_t)ROOMS_DEFAULT_MAX);
}

static void init_engine(struct engine *e)
{
    *e = (struct engine){ .state_fd = -1,
        .boxes_fd = -1,
        .trash_fd = -1,
        .templates_fd = -1,
        .pool_fd = -1,
        .mnt_fd = -1,
        .lock_fd = -1,
        .agent_fd = -1,
        .netns_fd = -1,
        .uts_fd = -1,
        .parent = getppid(),
        .cfg = { .run_dir = "/run/sandmux",
            .defaults = { .cpu_milli = 2000, .memory_mib = 1024, .disk_mib = 5120, .pids = 1024 },
            .rooms = rooms_default(),
            .ready = READY_DEFAULT,
            .reserve_mib = 10240 } };
    e->cgroups = (struct cgroups){ .unified = -1, .dynmods_fd = -1 };
    e->slots = (struct slots){ .dir_fd = -1, .lock_fd = -1 };
    e->base.fd = -1;
    e->watch.fd = e->control.fd = -1;
    smx_map_init(&e->boxes);
    io_sem_init(&e->creates, (unsigned)SMX_MAX(get_nprocs(), 1));
    io_event_init(&e->refill);
}

int main(int argc, char **argv)
{
    static struct engine e;
    enum smx_log_level level = SMX_LOG_INFO;
    const char *name = getenv("SANDMUX_LOG_LEVEL");
    struct smx_err err = { 0 };
    int r;

    init_engine(&e);
    r = parse_options(argc, argv, &e.cfg);
    if (r != 0)
        return r == 1 ? 0 : r;
    if (name)
        smx_log_level_parse(name, &level);
    smx_log_init("sandmux-engine", level);
    if (geteuid() != 0) {
        smx_error("the engine needs root");
        return 1;
    }
    umask(0022);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    if (run(&e, &err) < 0) {
        if (err.msg[0])
            smx_error("%s", err.msg);
        return 1;
    }
    return 0;
}
