/* tar.h - tar streams, without I/O: a writer of pax archives and a strict reader of what a
 * sandbox's tar writes (ustar, GNU long names, pax headers). The reader trusts nothing: sizes,
 * names and checksums are checked here, where paths lead is decided by copy_out.c. */
#ifndef SMX_CLI_TAR_H
#define SMX_CLI_TAR_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum { TAR_BLOCK = 512, TAR_PATH_MAX = 4096, TAR_EXTENDED_MAX = 64 * 1024 };

enum tar_type { TAR_FILE, TAR_DIR, TAR_SYMLINK, TAR_HARDLINK, TAR_OTHER };

struct tar_entry {
    enum tar_type type;
    char path[TAR_PATH_MAX], link[TAR_PATH_MAX];
    uint64_t size; /* of the data behind the header */
    mode_t mode;   /* permission bits */
    int64_t mtime_s;
    uint32_t mtime_ns;
};

/* --- writer -------------------------------------------------------------------------------------
 */

/* Appends the header block (and a pax header before it, where ustar does not suffice). */
int tar_write_header(struct smx_buf *out, const struct tar_entry *e, struct smx_err *err);
/* Zero bytes that follow data of that size. */
size_t tar_padding(uint64_t size);
/* The two empty blocks at the end. */
int tar_write_end(struct smx_buf *out, struct smx_err *err);

/* --- reader -------------------------------------------------------------------------------------
 */

struct tar_sink {
    /* A new entry, complete; its data follows. Nonzero ends the reading and is returned. */
    int (*entry)(const struct tar_entry *e, void *arg, struct smx_err *err);
    int (*data)(const void *data, size_t n, void *arg, struct smx_err *err);
    /* All data of the entry has come. */
    int (*end)(void *arg, struct smx_err *err);
    void *arg;
};

struct tar_reader {
    const struct tar_sink *sink;
    char block[TAR_BLOCK];
    size_t have;         /* bytes of block */
    uint64_t data;       /* bytes of the entry's data to come */
    size_t skip;         /* padding to come */
    char extended;       /* type of the extended header being read, or 0 */
    bool open, ended;    /* open: an entry's end is still to be told */
    unsigned empty;      /* empty blocks in a row */
    struct smx_buf text; /* of the extended header */
    struct tar_entry entry;
    bool long_path, long_link; /* given by an extended header */
    bool pax_size, pax_mtime;
};
void tar_reader_init(struct tar_reader *r, const struct tar_sink *sink);
void tar_reader_done(struct tar_reader *r);
/* Takes the next bytes of the stream, split anywhere. */
int tar_read(struct tar_reader *r, const void *data, size_t n, struct smx_err *err);
/* At the end of the stream: -SMX_E_PROTOCOL when it was cut. */
int tar_read_end(struct tar_reader *r, struct smx_err *err);

#endif
