/* files.c - sandmux/files.h: write, list, read, remove. */
#include <stdio.h>
#include <string.h>

#include "sandmux/files.h"
#include "sandmux/sandbox.h"

static int print(const void *data, size_t bytes, void *arg)
{
    (void)arg;
    return fwrite(data, 1, bytes, stdout) == bytes ? 0 : -SMX_E_IO;
}

static int list(struct smx_client *client, const char *id, struct smx_err *err)
{
    struct smx_file_list *files;
    int r = smx_file_list(client, id, "notes", /* depth= */ 1, &files, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < files->n; i++)
        printf("%04o %llu %s\n", files->items[i].permissions,
            (unsigned long long)files->items[i].bytes, files->items[i].name);
    smx_file_list_free(files);
    return 0;
}

static int work(struct smx_client *client, const char *id, struct smx_err *err)
{
    static const char text[] = "written from C\n";
    int r = smx_file_mkdir(client, id, "notes/old", err);

    if (r == 0)
        r = smx_file_write_all(client, id, "notes/a.txt", text, strlen(text), 0640, err);
    if (r == 0)
        r = smx_file_move(client, id, "notes/a.txt", "notes/b.txt", err);
    if (r == 0)
        r = list(client, id, err);
    if (r == 0)
        r = smx_file_read(
            client, id, "notes/b.txt", /* offset= */ 8, /* bytes= */ 0, print, NULL, err);
    if (r == 0)
        r = smx_file_remove(client, id, "notes", /* recursive= */ 1, err);
    return r;
}

int main(void)
{
    struct smx_client *client;
    struct smx_sandbox *sandbox;
    struct smx_err err;
    int r;

    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    r = smx_sandbox_create(client, &(struct smx_sandbox_spec){ 0 }, &sandbox, &err);
    if (r == 0) {
        r = work(client, sandbox->id, &err);
        smx_sandbox_delete(client, sandbox->id, /* missing_ok= */ 1, /* err= */ NULL);
        smx_sandbox_free(sandbox);
    }
    if (r < 0)
        fprintf(stderr, "%s\n", err.msg);
    smx_client_close(client);
    return r < 0;
}
