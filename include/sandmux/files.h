/** sandmux/files.h - the files of a sandbox. Paths are absolute or start at /workspace; none leaves
 * the sandbox, whatever its links say. Transfers are streamed: memory does not grow with size. */
#ifndef SANDMUX_FILES_H
#define SANDMUX_FILES_H

#include <sys/types.h>

#include "sandmux/sandmux.h"

#ifdef __cplusplus
extern "C" {
#endif

/** struct smx_file - @type: file, dir, symlink or other  @permissions: mode bits, 0644
 * @target: of a link, or NULL  @mod_time: RFC 3339 */
struct smx_file {
    const char *name, *path, *type, *target, *mod_time, *owner, *group;
    int is_dir;
    uint64_t bytes;
    unsigned permissions;
};
struct smx_file_list {
    const struct smx_file *items;
    size_t n;
    const char *json;
};

/** smx_file_list() - entries of a folder. @depth: 1: the folder's own; 0 is 1
 * Return: 0; -SMX_E_FILE_NOT_FOUND; -SMX_E_INVALID (not a folder). */
SMX_API int smx_file_list(struct smx_client *client, const char *id, const char *path,
    unsigned depth, struct smx_file_list **ret_list, struct smx_err *err);
/** smx_file_stat() - one entry; links are not followed. *ret_list has one item. */
SMX_API int smx_file_stat(struct smx_client *client, const char *id, const char *path,
    struct smx_file_list **ret_list, struct smx_err *err);
SMX_API void smx_file_list_free(struct smx_file_list *list);

/** smx_file_sink_fn - takes the next bytes of a file; nonzero ends the transfer and is returned. */
typedef int smx_file_sink_fn(const void *data, size_t bytes, void *arg);
/** smx_file_read() - stream a file. @offset, @bytes: a part; bytes 0: to the end
 * Return: 0; -SMX_E_FILE_NOT_FOUND; what @sink returned. */
SMX_API int smx_file_read(struct smx_client *client, const char *id, const char *path,
    uint64_t offset, uint64_t bytes, smx_file_sink_fn *sink, void *arg, struct smx_err *err);
/** smx_file_read_all() - a whole file of at most @max_bytes, with a NUL behind it; free with
 * smx_file_data_free(). Return: 0; -SMX_E_TOO_LARGE. */
SMX_API int smx_file_read_all(struct smx_client *client, const char *id, const char *path,
    size_t max_bytes, char **ret_data, size_t *ret_bytes, struct smx_err *err);
SMX_API void smx_file_data_free(char *data);

#define SMX_FILE_SIZE_UNKNOWN UINT64_MAX
/** smx_file_source_fn - puts up to @room bytes at @data: their number, 0 at the end, or a negative
 * value, which breaks the transfer off and is returned. */
typedef ssize_t smx_file_source_fn(void *data, size_t room, void *arg);
/** smx_file_write() - stream a file in: created with its parents, or replaced as a whole.
 * @bytes: exact size, or SMX_FILE_SIZE_UNKNOWN  @mode: permission bits; 0: 0644 or what it had
 * Return: 0; -SMX_E_DISK_FULL; -SMX_E_INVALID. */
SMX_API int smx_file_write(struct smx_client *client, const char *id, const char *path,
    uint64_t bytes, unsigned mode, smx_file_source_fn *source, void *arg, struct smx_err *err);
/** smx_file_write_all() - the same from memory. */
SMX_API int smx_file_write_all(struct smx_client *client, const char *id, const char *path,
    const void *data, size_t bytes, unsigned mode, struct smx_err *err);

/** smx_file_mkdir() - make a folder and its parents; one that is there is a success. */
SMX_API int smx_file_mkdir(
    struct smx_client *client, const char *id, const char *path, struct smx_err *err);
/** smx_file_remove() - @recursive: nonzero: a folder with all in it. */
SMX_API int smx_file_remove(struct smx_client *client, const char *id, const char *path,
    int recursive, struct smx_err *err);
/** smx_file_move() - rename within the sandbox. */
SMX_API int smx_file_move(struct smx_client *client, const char *id, const char *from,
    const char *to, struct smx_err *err);

#ifdef __cplusplus
}
#endif
#endif
