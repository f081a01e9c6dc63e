/* process.c - the type Process: a program with open streams. One thread reads, others may write; a
 * second reader is refused, since events belong to one. In a child after fork() it can only be
 * dropped. */
#include "native.h"

#include <stdatomic.h>
#include <unistd.h>

struct native_process {
    PyObject_HEAD struct smx_process *process;
    uint64_t pid;
    pid_t owner;
    atomic_flag reading;
};

static int usable(const struct native_process *p)
{
    struct smx_err err = { .code = SMX_E_STATE,
        .msg = "the program belongs to the process that started it; start another one here" };

    if (p->owner == getpid())
        return 1;
    native_raise(-SMX_E_STATE, &err);
    return 0;
}

/* --- starting -----------------------------------------------------------------------------------
 */

static PyObject *process_object(
    PyTypeObject *type, struct smx_process *process, const struct smx_process_event *e)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct native_process *self = (struct native_process *)alloc(type, 0);

    if (!self) {
        smx_process_free(process);
        return NULL;
    }
    self->process = process;
    self->pid = e->pid;
    self->owner = getpid();
    atomic_flag_clear(&self->reading);
    return (PyObject *)self;
}

static PyObject *start(
    PyTypeObject *type, struct smx_client *client, const char *id, const struct smx_exec_spec *spec)
{
    struct smx_process_event started = { 0 };
    struct smx_process *process = NULL;
    struct smx_err err = { 0 };
    int r;

    native_begin();
    r = smx_process_start(client, id, spec, &process, &err);
    if (r == 0)
        r = smx_process_next(process, UINT64_MAX, &started, &err); /* is there already */
    native_end();
    if (r >= 0 && !PyErr_Occurred())
        return process_object(type, process, &started);
    smx_process_free(process);
    return native_raise(r, &err);
}

/* Process(client, id, command, cwd, user, env, timeout_ms, tty, cols, rows) */
static PyObject *process_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *handle, *command, *env, *result;
    struct smx_client *client;
    const char *id, *cwd, *user;
    unsigned long long timeout_ms;
    struct native_command c;
    unsigned cols, rows;
    int tty;

    if (!PyArg_ParseTuple(args, "OsOzzOKpII", &handle, &id, &command, &cwd, &user, &env,
            &timeout_ms, &tty, &cols, &rows))
        return NULL;
    client = native_client_of(handle);
    if (!client || !native_command(command, env, &c))
        return NULL;
    c.spec.cwd = cwd;
    c.spec.user = user;
    c.spec.timeout_ms = timeout_ms;
    c.spec.tty = tty;
    c.spec.cols = cols;
    c.spec.rows = rows;
    result = start(type, client, id, &c.spec);
    native_command_done(&c);
    return result;
}

static void process_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

    smx_process_free(((struct native_process *)self)->process);
    release(self);
    Py_DECREF(type);
}

/* --- events -------------------------------------------------------------------------------------
 */

/* (kind, data, exit_code, signal, timed_out, duration_ms) */
static PyObject *event_object(const struct smx_process_event *e)
{
    static const char *const kinds[] = { [SMX_PROCESS_STARTED] = "started",
        [SMX_PROCESS_STDOUT] = "stdout",
        [SMX_PROCESS_STDERR] = "stderr",
        [SMX_PROCESS_EXITED] = "exited" };

    return Py_BuildValue("sy#iiiK", kinds[e->kind], e->data ? e->data : "", (Py_ssize_t)e->bytes,
        e->exit_code, e->signal, e->timed_out, (unsigned long long)e->duration_ms);
}

static PyObject *next_event(struct native_process *p, uint64_t timeout_ms)
{
    struct smx_process_event e = { 0 };
    struct smx_err err = { 0 };
    int r;

    native_begin();
    r = smx_process_next(p->process, timeout_ms, &e, &err);
    native_end();
    if (r < 0)
        return native_raise(r, &err);
    if (PyErr_Occurred())
        return NULL;
    if (r == 0)
        Py_RETURN_NONE;
    return event_object(&e);
}

/* next(timeout_ms) -> event, or None after the last; a negative time waits for ever */
static PyObject *process_next(PyObject *self, PyObject *args)
{
    struct native_process *p = (struct native_process *)self;
    struct smx_err err = { .code = SMX_E_BUSY,
        .msg = "another thread reads this program's output" };
    PyObject *result;
    long long timeout_ms;

    if (!PyArg_ParseTuple(args, "L", &timeout_ms) || !usable(p))
        return NULL;
    if (atomic_flag_test_and_set(&p->reading))
        return native_raise(-SMX_E_BUSY, &err);
    result = next_event(p, timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms);
    atomic_flag_clear(&p->reading);
    return result;
}

/* --- input and signals --------------------------------------------------------------------------
 */

/* write(data, timeout_ms) -> bytes taken */
static PyObject *process_write(PyObject *self, PyObject *args)
{
    struct native_process *p = (struct native_process *)self;
    unsigned long long timeout_ms;
    struct smx_err err = { 0 };
    const char *data;
    Py_ssize_t bytes;
    ssize_t n;

    if (!PyArg_ParseTuple(args, "y#K", &data, &bytes, &timeout_ms) || !usable(p))
        return NULL;
    native_begin();
    n = smx_process_write(p->process, data, (size_t)bytes, timeout_ms, &err);
    native_end();
    if (n < 0)
        return native_raise((int)n, &err);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(n);
}

static PyObject *done(int r, const struct smx_err *err)
{
    if (r < 0)
        return native_raise(r, err);
    Py_RETURN_NONE;
}

static PyObject *process_close_stdin(PyObject *self, PyObject *args)
{
    struct native_process *p = (struct native_process *)self;
    struct smx_err err = { 0 };

    if (!PyArg_ParseTuple(args, "") || !usable(p))
        return NULL;
    return done(smx_process_close_stdin(p->process, &err), &err);
}

static PyObject *process_resize(PyObject *self, PyObject *args)
{
    struct native_process *p = (struct native_process *)self;
    struct smx_err err = { 0 };
    unsigned cols, rows;

    if (!PyArg_ParseTuple(args, "II", &cols, &rows) || !usable(p))
        return NULL;
    return done(smx_process_resize(p->process, cols, rows, &err), &err);
}

static PyObject *process_signal(PyObject *self, PyObject *args)
{
    struct native_process *p = (struct native_process *)self;
    struct smx_err err = { 0 };
    int signo;

    if (!PyArg_ParseTuple(args, "i", &signo) || !usable(p))
        return NULL;
    return done(smx_process_signal(p->process, signo, &err), &err);
}

static PyObject *process_pid(PyObject *self, void *closure)
{
    return PyLong_FromUnsignedLongLong(((struct native_process *)self)->pid);
}

static PyMethodDef process_methods[] = {
    NATIVE_METHOD("next", process_next, "next(timeout_ms) -> event or None"),
    NATIVE_METHOD("write", process_write, "write(data, timeout_ms) -> bytes taken"),
    NATIVE_METHOD("close_stdin", process_close_stdin, "End of input."),
    NATIVE_METHOD("resize", process_resize, "resize(cols, rows)"),
    NATIVE_METHOD("signal", process_signal, "signal(number)"),
    { NULL, NULL, 0, NULL },
};

static PyGetSetDef process_getters[] = {
    { "pid", process_pid, NULL, "Its number inside the sandbox.", NULL },
    { NULL, NULL, NULL, NULL, NULL },
};

static char process_doc[] = "A running program with open streams.";
static PyType_Slot process_slots[] = {
    { Py_tp_doc, process_doc },
    { Py_tp_new, process_new },
    { Py_tp_dealloc, process_dealloc },
    { Py_tp_methods, process_methods },
    { Py_tp_getset, process_getters },
    { 0, NULL },
};

PyType_Spec native_process_spec = {
    .name = "sandbox._native.Process",
    .basicsize = sizeof(struct native_process),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = process_slots,
};
