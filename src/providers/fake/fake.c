/* fake.c - the life cycle of the runtime in memory. See fake.h; the data plane is in data.c. One
 * loop's thread. */
#include "providers/fake/internal.h"

#include <stdio.h>

/* --- the cloud ----------------------------------------------------------------------------- */

void fake_cloud_init(struct fake_cloud *c)
{
    *c = (struct fake_cloud){ .capabilities = UINT64_MAX >> (64 - PROVIDER_CAP_COUNT_) };
    smx_list_init(&c->boxes);
}

static void vm_free(struct fake_vm *vm)
{
    smx_list_del(&vm->link);
    SMX_LIST_FOREACH_SAFE(it, &vm->processes)
        smx_list_del(it); /* their streams stay the caller's */
    fake_files_free(vm);
    smx_free(vm);
}

void fake_cloud_done(struct fake_cloud *c)
{
    SMX_LIST_FOREACH_SAFE(it, &c->boxes)
        vm_free(SMX_LIST_ENTRY(it, struct fake_vm, link));
}

size_t fake_cloud_count(const struct fake_cloud *c)
{
    size_t n = 0;

    SMX_LIST_FOREACH(it, &c->boxes)
        n++;
    return n;
}

struct fake_vm *fake_vm_find(const struct fake_cloud *c, const char *id)
{
    SMX_LIST_FOREACH(it, &c->boxes) {
        struct fake_vm *vm = SMX_LIST_ENTRY(it, struct fake_vm, link);

        if (smx_streq(vm->info.provider_id, id) || smx_streq(vm->info.id, id))
            return vm;
    }
    return NULL;
}

static struct fake_vm *vm_new(struct fake_cloud *c, const char *id, const char *token)
{
    struct fake_vm *vm = smx_alloc(sizeof *vm);

    if (!vm)
        return NULL;
    smx_strcpy(vm->info.id, sizeof vm->info.id, id);
    smx_strcpy(vm->info.token, sizeof vm->info.token, token);
    snprintf(vm->info.provider_id, sizeof vm->info.provider_id, "fake-%u", ++c->made);
    vm->info.state = PROVIDER_BOX_RUNNING;
    vm->info.limits_hard = true;
    smx_list_init(&vm->files);
    smx_list_init(&vm->processes);
    vm->next_pid = 2;
    smx_list_add(&c->boxes, &vm->link);
    return vm;
}

int fake_cloud_plant(struct fake_cloud *c, const char *id, const char *token)
{
    return vm_new(c, id, token) ? 0 : -SMX_E_NO_MEMORY;
}

bool fake_cloud_set(struct fake_cloud *c, const char *id, enum provider_box_state state,
    const char *reason, bool tell)
{
    struct fake_vm *vm = fake_vm_find(c, id);
    char provider_id[PROVIDER_ID_MAX + 1];

    if (!vm)
        return false;
    smx_strcpy(provider_id, sizeof provider_id, vm->info.provider_id);
    vm->info.state = state;
    smx_strcpy(vm->info.reason, sizeof vm->info.reason, reason);
    if (state == PROVIDER_BOX_GONE)
        vm_free(vm);
    if (tell && c->open)
        c->host.changed(c->host.ctx, provider_id, state, reason);
    return true;
}

void fake_cloud_hide(struct fake_cloud *c, const char *id, bool hidden)
{
    struct fake_vm *vm = fake_vm_find(c, id);

    if (vm)
        vm->hidden = hidden;
}

enum provider_box_state fake_cloud_state(const struct fake_cloud *c, const char *id)
{
    const struct fake_vm *vm = fake_vm_find(c, id);

    return vm ? vm->info.state : PROVIDER_BOX_GONE;
}

/* --- faults -------------------------------------------------------------------------------- */

int fake_call(
    struct fake_cloud *c, enum fake_call call, uint64_t deadline, bool *ret_do, struct smx_err *err)
{
    struct fake_fault *f = &c->fault[call];

    c->calls[call]++;
    *ret_do = true;
    if (f->hang || f->delay_ms) {
        uint64_t until = f->hang ? deadline : SMX_MIN(deadline, smx_deadline_in_ms(f->delay_ms));
        int r = io_sleep_until(until);

        if (r < 0 || f->hang) {
            *ret_do = false;
            return smx_err_set(
                err, r < 0 ? (enum smx_code) - r : SMX_E_TIMEOUT, "the fake runtime was slow");
        }
    }
    if (f->times == 0)
        return 0;
    if (f->after > 0) {
        f->after--;
        return 0;
    }
    f->times--;
    *ret_do = f->done_anyway;
    return smx_err_set(err, f->code, "a planned fault");
}

/* --- life cycle ---------------------------------------------------------------------------- */

static void after(struct fake_cloud *c, enum fake_call call)
{
    if (c->after)
        c->after(c->ctx, call);
}

static int fake_open(struct io_loop *loop, const void *config, const struct provider_host *host,
    void **ret_impl, struct smx_err *err)
{
    union {
        const void *in;
        struct fake_cloud *out;
    } u = { .in = config };

    u.out->host = *host;
    u.out->open = true;
    *ret_impl = u.out;
    return 0;
}

static void fake_close(void *impl)
{
    ((struct fake_cloud *)impl)->open = false;
}

static uint64_t fake_capabilities(void *impl)
{
    return ((struct fake_cloud *)impl)->capabilities;
}

static int fake_validate(
    void *impl, struct provider_check *ret, uint64_t deadline, struct smx_err *err)
{
    bool go;
    int r = fake_call(impl, FAKE_VALIDATE, deadline, &go, err);

    if (r == 0)
        *ret = (struct provider_check){ .ok = true, .latency_ms = 1 };
    return r;
}

static int fake_probe(void *impl, uint64_t deadline, struct smx_err *err)
{
    bool go;

    return fake_call(impl, FAKE_PROBE, deadline, &go, err);
}

static int box_new(
    struct fake_cloud *c, const char *provider_id, struct provider_box **ret, struct smx_err *err)
{
    struct provider_box *box = smx_alloc(sizeof *box);

    if (!box)
        return smx_err_oom(err);
    box->handle.ops = &fake_provider;
    box->cloud = c;
    smx_strcpy(box->provider_id, sizeof box->provider_id, provider_id);
    *ret = box;
    return 0;
}

static struct provider_resources effective(const struct provider_resources *asked)
{
    return (struct provider_resources){ .cpu = asked->cpu ? asked->cpu : 1,
        .memory_mib = asked->memory_mib ? asked->memory_mib : 512,
        .disk_mib = asked->disk_mib ? asked->disk_mib : 1024,
        .pids = asked->pids ? asked->pids : 64 };
}

static int fake_create(void *impl, const struct provider_create_spec *spec,
    struct provider_info *ret, struct provider_box **ret_box, uint64_t deadline,
    struct smx_err *err)
{
    struct fake_cloud *c = impl;
    struct fake_vm *vm;
    bool go;
    int r = fake_call(c, FAKE_CREATE, deadline, &go, err);

    if (!go)
        return r;
    if (!smx_streq(spec->template, "base"))
        return smx_err_set(
            err, SMX_E_TEMPLATE_NOT_FOUND, "template '%s' not found", spec->template);
    vm = vm_new(c, spec->id, spec->token);
    if (!vm)
        return smx_err_oom(err);
    vm->info.resources = effective(&spec->resources);
    vm->info.expires_unix_ms = spec->expires_unix_ms;
    after(c, FAKE_CREATE);
    if (r < 0)
        return r;
    r = box_new(c, vm->info.provider_id, ret_box, err);
    if (r == 0)
        *ret = vm->info;
    else
        vm_free(vm);
    return r;
}

static int fake_attach(void *impl, const struct provider_info *info, const struct json_pair *env,
    size_t n_env, struct provider_box **ret_box, struct smx_err *err)
{
    bool go;
    int r = fake_call(impl, FAKE_ATTACH, SMX_FOREVER, &go, err);

    return r < 0 ? r : box_new(impl, info->provider_id, ret_box, err);
}

static void fake_detach(struct provider_box *box)
{
    smx_free(box);
}

/* One change of state of a sandbox that must be there. */
static int set_state(struct provider_box *box, enum fake_call call, enum provider_box_state state,
    uint64_t deadline, struct smx_err *err)
{
    bool go;
    int r = fake_call(box->cloud, call, deadline, &go, err);
    struct fake_vm *vm = fake_vm_find(box->cloud, box->provider_id);

    if (!go)
        return r;
    if (!vm)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox not found at the fake runtime");
    vm->info.state = state;
    vm->info.reason[0] = '\0';
    after(box->cloud, call);
    return r;
}

static int fake_start(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return set_state(box, FAKE_START, PROVIDER_BOX_RUNNING, deadline, err);
}

static int fake_stop(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return set_state(box, FAKE_STOP, PROVIDER_BOX_STOPPED, deadline, err);
}

static int fake_pause(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return set_state(box, FAKE_PAUSE, PROVIDER_BOX_PAUSED, deadline, err);
}

static int fake_resume(struct provider_box *box, uint64_t deadline, struct smx_err *err)
{
    return set_state(box, FAKE_RESUME, PROVIDER_BOX_RUNNING, deadline, err);
}

static int fake_kill(void *impl, const char *provider_id, uint64_t deadline, struct smx_err *err)
{
    bool go;
    int r = fake_call(impl, FAKE_KILL, deadline, &go, err);
    struct fake_vm *vm = fake_vm_find(impl, provider_id);

    if (go && vm)
        vm_free(vm);
    if (go)
        after(impl, FAKE_KILL);
    return r;
}

static int fake_set_deadline(
    struct provider_box *box, int64_t expires_unix_ms, uint64_t deadline, struct smx_err *err)
{
    bool go;
    int r = fake_call(box->cloud, FAKE_SET_DEADLINE, deadline, &go, err);
    struct fake_vm *vm = fake_vm_find(box->cloud, box->provider_id);

    if (!go)
        return r;
    if (!vm)
        return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox not found at the fake runtime");
    vm->info.expires_unix_ms = box->cloud->last_deadline_unix_ms = expires_unix_ms;
    return r;
}

static int fake_stats(
    struct provider_box *box, struct provider_stats *ret, uint64_t deadline, struct smx_err *err)
{
    struct fake_vm *vm = fake_running(box, deadline, err);

    if (!vm)
        return -(int)err->code;
    *ret = (struct provider_stats){ .pids = 1,
        .pids_limit = vm->info.resources.pids,
        .memory_bytes = sizeof *vm + fake_files_bytes(vm),
        .memory_limit_bytes = vm->info.resources.memory_mib << 20 };
    return 0;
}

/* The answer is as old as the call: a slow one shows what was, not what is. */
static int fake_list(
    void *impl, struct provider_info **ret, size_t *ret_n, uint64_t deadline, struct smx_err *err)
{
    struct fake_cloud *c = impl;
    struct provider_info *v = smx_alloc_array(fake_cloud_count(c) + 1, sizeof *v);
    size_t n = 0;
    bool go;
    int r;

    if (!v)
        return smx_err_oom(err);
    SMX_LIST_FOREACH(it, &c->boxes) {
        const struct fake_vm *vm = SMX_LIST_ENTRY(it, struct fake_vm, link);

        if (!vm->hidden)
            v[n++] = vm->info;
    }
    r = fake_call(c, FAKE_LIST, deadline, &go, err);
    if (r < 0) {
        smx_free(v);
        return r;
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

static int fake_templates(void *impl, struct provider_template **ret, size_t *ret_n,
    uint64_t deadline, struct smx_err *err)
{
    struct provider_template *v = smx_alloc(sizeof *v);

    if (!v)
        return smx_err_oom(err);
    smx_strcpy(v->name, sizeof v->name, "base");
    smx_strcpy(v->default_user, sizeof v->default_user, "root");
    *ret = v;
    *ret_n = 1;
    return 0;
}

const struct provider_ops fake_provider = { .version = PROVIDER_VERSION,
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .capabilities = fake_capabilities,
    .validate = fake_validate,
    .probe = fake_probe,
    .create = fake_create,
    .attach = fake_attach,
    .detach = fake_detach,
    .start = fake_start,
    .stop = fake_stop,
    .pause = fake_pause,
    .resume = fake_resume,
    .kill = fake_kill,
    .set_deadline = fake_set_deadline,
    .stats = fake_stats,
    .sample = fake_stats,
    .list = fake_list,
    .templates = fake_templates,
    .data = &fake_data };
