/* archive.h - files of a sandbox as a stream of tar, out and in: what backup, restore and migration
 * are built from. The tar program of the sandbox does it, so owners, modes, times to the
 * nanosecond, links and empty directories are kept; nothing is held in memory or on a disk of ours.
 *
 * Threading: one loop; every call [parks]. */
#ifndef SMX_COMPOSE_ARCHIVE_H
#define SMX_COMPOSE_ARCHIVE_H

#include "core/core.h"

/* What is saved when no path is named; those that are there. NULL-terminated. */
extern const char *const archive_paths[];

typedef int(archive_give_fn)(void *arg, const void *data, size_t n); /* negative: ends it */
/* 1..n bytes, 0 at the end, negative: ends it with *err. */
typedef ssize_t(archive_take_fn)(void *arg, void *data, size_t n, struct smx_err *err);

enum { ARCHIVE_PATHS_MAX = 8 };
/* paths: absolute, NULL-terminated; those that are not there are passed over unless it is all of
 * them. Member names are relative to "/". -SMX_E_FILE_NOT_FOUND;
 * -SMX_E_UNSUPPORTED: no GNU tar in the sandbox. *ret_changed (may be NULL): a file changed while
 * it was read. */
int archive_save(struct provider_box *box, const char *const *paths, archive_give_fn *give,
    void *arg, bool *ret_changed, struct smx_err *err);
/* Unpacks over what is there, relative to "/". -SMX_E_INVALID: not a tar stream, with tar's words;
 * -SMX_E_DISK_FULL. */
int archive_load(struct provider_box *box, archive_take_fn *take, void *arg, uint64_t *ret_bytes,
    struct smx_err *err);
/* A digest over names, types, modes, owners, times, link targets and content below the paths. */
enum { ARCHIVE_DIGEST_SIZE = 2 * 64 + 2 };
int archive_digest(struct provider_box *box, const char *const *paths,
    char out[ARCHIVE_DIGEST_SIZE], struct smx_err *err);

#endif
