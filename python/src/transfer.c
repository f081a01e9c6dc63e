/* transfer.c - contents of files: in memory as bytes, or to and from a descriptor in constant
 * memory. The local descriptor is used without the interpreter's lock; its errors become OSError.
 */
#include "native.h"

#include <errno.h>
#include <unistd.h>

/* Below every error code of libsandmux, so that it tells where a transfer broke. */
enum { LOCAL_FAILED = -10000 };

struct local {
    int fd;
    int failure; /* errno */
};

static PyObject *finish(int r, const struct local *local, const struct smx_err *err)
{
    if (local && local->failure && !PyErr_Occurred()) {
        errno = local->failure;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (r < 0)
        return native_raise(r, err);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* --- from the sandbox ---------------------------------------------------------------------------
 */

/* read(id, path) -> bytes */
PyObject *native_read(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    struct smx_err err = { 0 };
    const char *id, *path;
    PyObject *result;
    char *data = NULL;
    size_t bytes = 0;
    int r;

    if (!PyArg_ParseTuple(args, "ss", &id, &path))
        return NULL;
    native_begin();
    r = smx_file_read_all(client, id, path, PY_SSIZE_T_MAX / 2, &data, &bytes, &err);
    native_end();
    if (r < 0)
        return native_raise(r, &err);
    result = PyErr_Occurred() ? NULL : PyBytes_FromStringAndSize(data, (Py_ssize_t)bytes);
    smx_file_data_free(data);
    return result;
}

static int to_local(const void *data, size_t bytes, void *arg)
{
    struct local *local = arg;
    const char *from = data;

    while (bytes > 0) {
        ssize_t n = write(local->fd, from, bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            local->failure = errno;
            return LOCAL_FAILED;
        }
        from += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* read_fd(id, path, fd) */
PyObject *native_read_fd(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    struct smx_err err = { 0 };
    struct local local = { 0 };
    const char *id, *path;
    int r;

    if (!PyArg_ParseTuple(args, "ssi", &id, &path, &local.fd))
        return NULL;
    native_begin();
    r = smx_file_read(client, id, path, /* offset= */ 0, /* bytes= */ 0, to_local, &local, &err);
    native_end();
    return finish(r, &local, &err);
}

/* archive_save(id, path, fd): a tar stream; path None: what a backup holds */
PyObject *native_archive_save(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    struct smx_err err = { 0 };
    struct local local = { 0 };
    const char *id, *path;
    int r;

    if (!PyArg_ParseTuple(args, "szi", &id, &path, &local.fd))
        return NULL;
    native_begin();
    r = smx_archive_save(client, id, path, to_local, &local, &err);
    native_end();
    return finish(r, &local, &err);
}

/* --- to the sandbox -----------------------------------------------------------------------------
 */

/* write(id, path, data, mode) */
PyObject *native_write(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    struct smx_err err = { 0 };
    const char *id, *path, *data;
    Py_ssize_t bytes;
    unsigned mode;
    int r;

    if (!PyArg_ParseTuple(args, "ssy#I", &id, &path, &data, &bytes, &mode))
        return NULL;
    native_begin();
    r = smx_file_write_all(client, id, path, data, (size_t)bytes, mode, &err);
    native_end();
    return finish(r, /* local= */ NULL, &err);
}

static ssize_t from_local(void *data, size_t room, void *arg)
{
    struct local *local = arg;
    ssize_t n;

    do
        n = read(local->fd, data, room);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        local->failure = errno;
        return LOCAL_FAILED;
    }
    return n;
}

/* write_fd(id, path, fd, mode) */
PyObject *native_write_fd(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    struct smx_err err = { 0 };
    struct local local = { 0 };
    const char *id, *path;
    unsigned mode;
    int r;

    if (!PyArg_ParseTuple(args, "ssiI", &id, &path, &local.fd, &mode))
        return NULL;
    native_begin();
    r = smx_file_write(client, id, path, SMX_FILE_SIZE_UNKNOWN, mode, from_local, &local, &err);
    native_end();
    return finish(r, &local, &err);
}

/* archive_load(id, fd): unpacks a tar stream over what is there */
PyObject *native_archive_load(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    struct smx_err err = { 0 };
    struct local local = { 0 };
    const char *id;
    int r;

    if (!PyArg_ParseTuple(args, "si", &id, &local.fd))
        return NULL;
    native_begin();
    r = smx_archive_load(client, id, SMX_FILE_SIZE_UNKNOWN, from_local, &local, &err);
    native_end();
    return finish(r, &local, &err);
}
