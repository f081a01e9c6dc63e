/* internal.h - shared by the files of the envd client. */
#ifndef SMX_PROVIDERS_ENVD_INTERNAL_H
#define SMX_PROVIDERS_ENVD_INTERNAL_H

#include "base/fd.h"
#include "base/mem.h"
#include "providers/envd/client.h"
#include "rpc/rpc.h"
#include "wire/envd/envd.h"

struct envd_conn {
    struct http_client http; /* first */
    struct envd_box *box;
    struct smx_list box_link, lru_link;
    uint64_t idle_since_ns;
    bool unused; /* nothing was said on it yet */
};

/* conn.c */
int envd_conn_get(
    struct envd_box *b, struct envd_conn **ret, uint64_t deadline, struct smx_err *err);
void envd_conn_put(struct envd_conn *c); /* keeps it when it can be used again, else closes it */
void envd_conn_close(struct envd_conn *c);

/* call.c */
struct envd_call {
    const char *route;
    bool as_user;     /* on behalf of a user: sends one */
    const char *user; /* NULL: the box's */
    const struct json_table *request_table;
    const void *request;
    const struct json_table *reply_table; /* NULL: nothing of interest */
    void *reply;
    /* A type that the reply may have instead: then its body goes there. NULL: none. */
    const char *other_type;
    struct smx_buf *other;
    enum smx_code not_found; /* what the protocol's not_found means here */
};
int envd_call(
    struct envd_box *b, const struct envd_call *call, uint64_t deadline, struct smx_err *err);
/* Request fields of a call: content type, and the user as Basic credentials. */
int envd_fields(
    struct smx_buf *out, const char *content_type, const char *user, struct smx_err *err);
/* The error that a code means to our callers; err->msg stays. Returns -code. */
int envd_error(enum rpc_code code, enum smx_code not_found, struct smx_err *err);
/* Reads the body of a plain HTTP error and returns what it means. */
int envd_http_error(struct envd_conn *c, int status, uint64_t deadline, struct smx_err *err);
/* path as envd is to see it: relative ones get the base. The caller frees it. */
char *envd_path(const struct envd_box *b, const char *path);
static inline const char *envd_user(const struct envd_box *b, const char *user)
{
    return user ? user : b->user;
}
/* For the tables, whose strings are not const because decoding owns them. */
static inline char *envd_str(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* process.c, files.c, transfer.c: the slots of envd_data_ops */
int envd_start(struct provider_box *box, const struct provider_process_spec *spec,
    struct provider_stream **ret, uint64_t deadline, struct smx_err *err);
int envd_connect(struct provider_box *box, uint32_t pid, struct provider_stream **ret,
    uint64_t deadline, struct smx_err *err);
int envd_next(
    struct provider_stream *s, struct provider_event *ret, uint64_t deadline, struct smx_err *err);
struct io_fd *envd_stream_fd(struct provider_stream *s, bool *ret_buffered);
void envd_stream_close(struct provider_stream *s);
int envd_write_stdin(struct provider_box *box, uint32_t pid, bool tty, const void *data, size_t n,
    uint64_t deadline, struct smx_err *err);
int envd_close_stdin(
    struct provider_box *box, uint32_t pid, uint64_t deadline, struct smx_err *err);
int envd_resize(struct provider_box *box, uint32_t pid, uint16_t cols, uint16_t rows,
    uint64_t deadline, struct smx_err *err);
int envd_signal(
    struct provider_box *box, uint32_t pid, int signo, uint64_t deadline, struct smx_err *err);
int envd_processes(struct provider_box *box, struct provider_process_list *ret, uint64_t deadline,
    struct smx_err *err);
int envd_stat(struct provider_box *box, const char *path, const char *user,
    struct provider_file *ret, uint64_t deadline, struct smx_err *err);
int envd_list_dir(struct provider_box *box, const char *path, const char *user, unsigned depth,
    struct provider_file_list *ret, uint64_t deadline, struct smx_err *err);
int envd_make_dir(struct provider_box *box, const char *path, const char *user, uint64_t deadline,
    struct smx_err *err);
int envd_move(struct provider_box *box, const char *from, const char *to, const char *user,
    uint64_t deadline, struct smx_err *err);
int envd_remove(struct provider_box *box, const char *path, const char *user, uint64_t deadline,
    struct smx_err *err);
int envd_read_open(struct provider_box *box, const char *path, const char *user, uint64_t offset,
    uint64_t length, struct provider_reader **ret, uint64_t *ret_total, uint64_t deadline,
    struct smx_err *err);
ssize_t envd_read(
    struct provider_reader *r, void *data, size_t n, uint64_t deadline, struct smx_err *err);
int envd_read_file(struct provider_reader *r, struct provider_content *ret);
void envd_read_close(struct provider_reader *r);
int envd_write_open(struct provider_box *box, const char *path, const char *user, uint64_t length,
    struct provider_writer **ret, uint64_t deadline, struct smx_err *err);
int envd_write(struct provider_writer *w, const void *data, size_t n, struct smx_err *err);
int envd_write_commit(struct provider_writer *w, uint64_t deadline, struct smx_err *err);
void envd_write_abort(struct provider_writer *w);

static inline struct envd_box *envd_box_of(struct provider_box *box)
{
    return (struct envd_box *)(void *)box;
}

#endif
