/* archive.c - sandmux/archive.h: the files of one sandbox into another, through memory of ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandmux/archive.h"
#include "sandmux/sandbox.h"

struct bytes {
    char *data;
    size_t n, at;
};

static int keep(const void *data, size_t n, void *arg)
{
    struct bytes *b = arg;
    char *grown = realloc(b->data, b->n + n);

    if (!grown)
        return 1;
    memcpy(grown + b->n, data, n);
    b->data = grown;
    b->n += n;
    return 0;
}

static ssize_t give(void *data, size_t room, void *arg)
{
    struct bytes *b = arg;
    size_t n = b->n - b->at < room ? b->n - b->at : room;

    memcpy(data, b->data + b->at, n);
    b->at += n;
    return (ssize_t)n;
}

static int copy(struct smx_client *client, const char *from, const char *to, struct smx_err *err)
{
    struct bytes b = { NULL, 0, 0 };
    char *text;
    size_t n;
    int r = smx_file_write_all(client, from, "note", "kept\n", 5, /* mode= */ 0, err);

    if (r == 0)
        r = smx_archive_save(client, from, "/workspace", keep, &b, err);
    if (r == 0)
        r = smx_archive_load(client, to, b.n, give, &b, err);
    if (r == 0)
        r = smx_file_read_all(client, to, "note", 100, &text, &n, err);
    if (r == 0) {
        printf("%s", text);
        smx_file_data_free(text);
    }
    free(b.data);
    return r;
}

int main(void)
{
    struct smx_sandbox *box[2] = { NULL, NULL };
    struct smx_sandbox_spec spec = { .name = NULL };
    struct smx_client *client;
    struct smx_err err;
    int r;

    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    r = smx_sandbox_create(client, &spec, &box[0], &err);
    if (r == 0)
        r = smx_sandbox_create(client, &spec, &box[1], &err);
    if (r == 0)
        r = copy(client, box[0]->id, box[1]->id, &err);
    if (r < 0)
        fprintf(stderr, "%s\n", err.msg);
    for (size_t i = 0; i < 2 && box[i]; i++) {
        smx_sandbox_delete(client, box[i]->id, /* missing_ok= */ 1, /* err= */ NULL);
        smx_sandbox_free(box[i]);
    }
    smx_client_close(client);
    return r < 0;
}
