/** sandmux/archive.h - files of a sandbox as a stream of tar: backup, restore, and the move to
 * another runtime. Owners, modes, times, links and empty folders are kept; memory does not grow
 * with size. */
#ifndef SANDMUX_ARCHIVE_H
#define SANDMUX_ARCHIVE_H

#include "sandmux/files.h"

#ifdef __cplusplus
extern "C" {
#endif

/** smx_archive_save() - @path: absolute, or NULL: /workspace, /home and /root
 * @sink: gets the tar stream; a nonzero return ends the transfer and is returned
 * Return: 0; -SMX_E_FILE_NOT_FOUND; -SMX_E_UNSUPPORTED: no GNU tar in the sandbox; -SMX_E_CLOSED:
 * it broke off, what came is not whole. */
SMX_API int smx_archive_save(struct smx_client *client, const char *sandbox, const char *path,
    smx_file_sink_fn *sink, void *arg, struct smx_err *err);
/** smx_archive_load() - unpack a tar stream over what is there, names relative to "/".
 * @bytes: exact size, or SMX_FILE_SIZE_UNKNOWN
 * Return: 0; -SMX_E_INVALID: not a tar stream; -SMX_E_DISK_FULL. */
SMX_API int smx_archive_load(struct smx_client *client, const char *sandbox, uint64_t bytes,
    smx_file_source_fn *source, void *arg, struct smx_err *err);

#ifdef __cplusplus
}
#endif
#endif
