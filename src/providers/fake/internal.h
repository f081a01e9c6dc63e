/* internal.h - the inside of the runtime in memory. */
#ifndef SMX_PROVIDERS_FAKE_INTERNAL_H
#define SMX_PROVIDERS_FAKE_INTERNAL_H

#include "base/list.h"
#include "base/mem.h"
#include "providers/fake/fake.h"

/* A sandbox as the cloud has it. */
struct fake_vm {
    struct smx_list link;
    struct provider_info info;
    struct smx_list files, processes;
    uint32_t next_pid;
    bool hidden; /* from list() */
};

struct provider_box {
    struct provider_handle handle;
    struct fake_cloud *cloud;
    char provider_id[PROVIDER_ID_MAX + 1];
};

/* Counts a call, delays it and plays its fault. *ret_do: what was asked for is to be done. */
int fake_call(struct fake_cloud *c, enum fake_call call, uint64_t deadline, bool *ret_do,
    struct smx_err *err);
struct fake_vm *fake_vm_find(const struct fake_cloud *c, const char *id);
/* For the data plane: the sandbox, running; NULL with *err set otherwise. */
struct fake_vm *fake_running(struct provider_box *box, uint64_t deadline, struct smx_err *err);
void fake_files_free(struct fake_vm *vm);
uint64_t fake_files_bytes(const struct fake_vm *vm);
bool fake_is_directory(struct fake_vm *vm, const char *path);

extern const struct provider_data_ops fake_data;

/* process.c: slots of the same table */
int fake_process_start(struct provider_box *box, const struct provider_process_spec *spec,
    struct provider_stream **ret, uint64_t deadline, struct smx_err *err);
int fake_process_next(
    struct provider_stream *s, struct provider_event *ret, uint64_t deadline, struct smx_err *err);
void fake_process_close(struct provider_stream *s);
int fake_write_stdin(struct provider_box *box, uint32_t pid, bool tty, const void *data, size_t n,
    uint64_t deadline, struct smx_err *err);
int fake_close_stdin(
    struct provider_box *box, uint32_t pid, uint64_t deadline, struct smx_err *err);
int fake_resize(struct provider_box *box, uint32_t pid, uint16_t cols, uint16_t rows,
    uint64_t deadline, struct smx_err *err);
int fake_signal(
    struct provider_box *box, uint32_t pid, int signo, uint64_t deadline, struct smx_err *err);
int fake_processes(struct provider_box *box, struct provider_process_list *ret, uint64_t deadline,
    struct smx_err *err);

#endif
