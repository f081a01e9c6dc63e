/* conn.c - kept connections to envd. One loop's thread; nothing here but dialling parks. */
#include "providers/envd/internal.h"

static void unlink_idle(struct envd_conn *c)
{
    smx_list_del(&c->box_link);
    smx_list_del(&c->lru_link);
    c->box->n_kept--;
    c->box->idle->n--;
}

void envd_conn_close(struct envd_conn *c)
{
    http_client_done(&c->http);
    smx_free(c);
}

static struct envd_conn *oldest(struct envd_idle *i)
{
    return smx_list_empty(&i->lru) ? NULL : SMX_LIST_ENTRY(i->lru.next, struct envd_conn, lru_link);
}

void envd_idle_close(struct envd_idle *i, size_t keep)
{
    while (i->n > keep) {
        struct envd_conn *c = oldest(i);

        unlink_idle(c);
        envd_conn_close(c);
    }
}

static void arm_sweep(struct envd_idle *i)
{
    struct envd_conn *c = oldest(i);

    if (c && i->sweep.heap_index == SIZE_MAX)
        io_timer_arm(&i->sweep, i->loop, c->idle_since_ns + i->keep_ms * SMX_NS_PER_MS);
}

static void sweep(void *arg)
{
    struct envd_idle *i = arg;
    uint64_t now = smx_now_ns();
    struct envd_conn *c;

    while ((c = oldest(i)) && c->idle_since_ns + i->keep_ms * SMX_NS_PER_MS <= now) {
        unlink_idle(c);
        envd_conn_close(c);
    }
    arm_sweep(i);
}

void envd_idle_init(struct envd_idle *i, struct io_loop *loop)
{
    i->loop = loop;
    i->n = 0;
    i->keep_ms = ENVD_IDLE_MS;
    smx_list_init(&i->lru);
    io_timer_init(&i->sweep, sweep, i);
}

void envd_idle_done(struct envd_idle *i)
{
    envd_idle_close(i, 0);
    io_timer_disarm(&i->sweep);
}

void envd_box_init(struct envd_box *b, const struct provider_ops *ops, struct envd_idle *idle)
{
    b->handle.ops = ops;
    b->idle = idle;
    b->n_kept = 0;
    smx_list_init(&b->kept);
}

void envd_box_forget(struct envd_box *b)
{
    SMX_LIST_FOREACH_SAFE(it, &b->kept) {
        struct envd_conn *c = SMX_LIST_ENTRY(it, struct envd_conn, box_link);

        unlink_idle(c);
        envd_conn_close(c);
    }
}

static void keep(struct envd_conn *c)
{
    struct envd_box *b = c->box;

    c->idle_since_ns = smx_now_ns();
    smx_list_add(&b->kept, &c->box_link);
    smx_list_add(&b->idle->lru, &c->lru_link);
    b->n_kept++;
    b->idle->n++;
    if (b->idle->n > ENVD_IDLE_MAX)
        envd_idle_close(b->idle, ENVD_IDLE_MAX);
    arm_sweep(b->idle);
}

void envd_box_connected(struct envd_box *b, int fd)
{
    struct envd_conn *c = smx_alloc(sizeof *c);

    if (!c) {
        smx_close(fd);
        return;
    }
    c->box = b;
    smx_list_init(&c->box_link);
    smx_list_init(&c->lru_link);
    if (http_client_init(&c->http, fd, NULL) < 0) {
        smx_free(c);
        return;
    }
    c->unused = true;
    keep(c);
}

static int dial_new(
    struct envd_box *b, struct envd_conn **ret, uint64_t deadline, struct smx_err *err)
{
    struct envd_conn *c = smx_alloc(sizeof *c);
    int r;

    if (!c)
        return smx_err_oom(err);
    c->box = b;
    smx_list_init(&c->box_link);
    smx_list_init(&c->lru_link);
    r = b->dial(b, /* port= */ 0, &c->http, deadline, err);
    if (r < 0) {
        smx_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int envd_conn_get(
    struct envd_box *b, struct envd_conn **ret, uint64_t deadline, struct smx_err *err)
{
    while (!smx_list_empty(&b->kept)) {
        struct envd_conn *c = SMX_LIST_ENTRY(b->kept.prev, struct envd_conn, box_link);

        unlink_idle(c);
        if (c->unused || http_client_reusable(&c->http)) {
            c->unused = false;
            *ret = c;
            return 0;
        }
        envd_conn_close(c);
    }
    return dial_new(b, ret, deadline, err);
}

void envd_conn_put(struct envd_conn *c)
{
    struct envd_box *b = c->box;

    if (!http_client_reusable(&c->http) || b->n_kept >= ENVD_IDLE_PER_BOX) {
        envd_conn_close(c);
        return;
    }
    http_client_trim(&c->http);
    keep(c);
}
