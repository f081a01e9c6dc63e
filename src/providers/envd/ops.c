/* ops.c - the data plane of runtimes whose sandboxes speak envd. */
#include "providers/envd/internal.h"

static int dial(struct provider_box *box, uint16_t port, struct http_client *to, uint64_t deadline,
    struct smx_err *err)
{
    struct envd_box *b = envd_box_of(box);

    return b->dial(b, port, to, deadline, err);
}

static int get(
    struct provider_box *box, struct http_client **ret, uint64_t deadline, struct smx_err *err)
{
    struct envd_conn *c = NULL;
    int r = envd_conn_get(envd_box_of(box), &c, deadline, err);

    if (r == 0)
        *ret = &c->http;
    return r;
}

static void put(struct provider_box *box, struct http_client *c)
{
    envd_conn_put(SMX_CONTAINER_OF(c, struct envd_conn, http));
}

const struct provider_data_ops envd_data_ops = { .start = envd_start,
    .connect = envd_connect,
    .next = envd_next,
    .stream_fd = envd_stream_fd,
    .stream_close = envd_stream_close,
    .write_stdin = envd_write_stdin,
    .close_stdin = envd_close_stdin,
    .resize = envd_resize,
    .signal = envd_signal,
    .processes = envd_processes,
    .stat = envd_stat,
    .list_dir = envd_list_dir,
    .make_dir = envd_make_dir,
    .move = envd_move,
    .remove = envd_remove,
    .read_open = envd_read_open,
    .read = envd_read,
    .read_file = envd_read_file,
    .read_close = envd_read_close,
    .write_open = envd_write_open,
    .write = envd_write,
    .write_commit = envd_write_commit,
    .write_abort = envd_write_abort,
    .dial = dial,
    .envd_get = get,
    .envd_put = put };
