/* upload.h - one file that is being written. What fits SMX_AGENT_INLINE_WRITE_MAX is held and
 * written at the end; anything longer, and whatever is no regular file, goes through a pipe to a
 * child, so that a slow disk slows down this upload only. */
#ifndef SMX_AGENT_UPLOAD_H
#define SMX_AGENT_UPLOAD_H

#include "agent/filework.h"
#include "http/multipart.h"

struct upload {
    struct agent *agent;
    struct http_exchange *x;
    const char *path; /* borrowed */
    int fd;           /* the open file; -1 once a child has it */
    bool blocking;    /* the child opens the path itself: a FIFO without a reader, say */
    bool truncate;    /* what was in it goes when writing begins */
    bool whole;       /* the content replaces the file only when all of it is there */
    struct smx_buf held;
    struct filework *work;
    struct io_fd pipe;
    uint64_t bytes;
};
/* An upload that failed says so here: the HTTP status and a sentence. */
struct upload_error {
    int status;
    char message[320];
};

/* Makes parents and opens the file; it belongs to the user. What was in it stays until something is
 * written: a short upload that is cut changes nothing. 0 or -1. */
int upload_open(struct upload *u, struct agent *a, struct http_exchange *x, const char *path,
    const struct agent_user *user, bool whole, struct upload_error *err);
/* [parks] takes all that the source gives. An error of the source is in *source_err, with -2. */
int upload_pull(struct upload *u, multipart_source_fn *source, void *ctx, struct upload_error *err,
    struct smx_err *source_err);
/* [parks] the exchange's body as it is, by splice. Errors as above. */
int upload_body(struct upload *u, struct upload_error *err, struct smx_err *source_err);
/* [parks] writes what is left and waits until it stands in the file. */
int upload_finish(struct upload *u, struct upload_error *err);
/* Replaces the file's "user.e2b." attributes. */
int upload_metadata(const char *path, const struct json_map *metadata, struct upload_error *err);
void upload_done(struct upload *u);

int upload_fail(struct upload_error *err, int status, const char *fmt, ...) SMX_PRINTF(3, 4);

#endif
