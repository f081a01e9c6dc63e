/* wait.c - how a blocking call lets others run and how it ends early. The state is per thread: the
 * interpreter's thread state while its lock is given up, and the Cancel under which the thread
 * works (see Cancel.run()). libsandmux asks native_interrupt() while it waits; the main thread then
 * lets Python run its signal handlers, so that Ctrl-C ends a call of any length. */
#include "native.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

struct cancel {
    PyObject_HEAD atomic_int set;
};

static _Thread_local PyThreadState *given_up;
static _Thread_local struct cancel *current;

void native_begin(void)
{
    given_up = PyEval_SaveThread();
}

void native_end(void)
{
    PyEval_RestoreThread(given_up);
    given_up = NULL;
}

static int is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

int native_interrupt(void *arg)
{
    int r;

    if (current && atomic_load(&current->set))
        return 1;
    if (!is_main_thread())
        return 0;
    PyEval_RestoreThread(given_up);
    r = PyErr_CheckSignals();
    given_up = PyEval_SaveThread();
    return r < 0;
}

PyObject *native_raise(int r, const struct smx_err *err)
{
    enum smx_code code = err->code ? err->code : (enum smx_code) - r;
    PyObject *module, *exception;

    if (PyErr_Occurred())
        return NULL;
    module = PyImport_ImportModule("sandbox.errors");
    if (!module)
        return NULL;
    exception = PyObject_CallMethod(module, "make", "ss", smx_code_name(code), err->msg);
    if (exception)
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_XDECREF(exception);
    Py_DECREF(module);
    return NULL;
}

PyObject *native_raise_invalid(const char *text)
{
    struct smx_err err = { .code = SMX_E_INVALID };

    PyOS_snprintf(err.msg, sizeof err.msg, "%s", text);
    return native_raise(-SMX_E_INVALID, &err);
}

/* --- Cancel -------------------------------------------------------------------------------------
 */

static PyObject *cancel_set(PyObject *self, PyObject *args)
{
    if (!PyArg_ParseTuple(args, ""))
        return NULL;
    atomic_store(&((struct cancel *)self)->set, 1);
    Py_RETURN_NONE;
}

static PyObject *cancel_is_set(PyObject *self, PyObject *args)
{
    if (!PyArg_ParseTuple(args, ""))
        return NULL;
    return PyBool_FromLong(atomic_load(&((struct cancel *)self)->set));
}

static PyObject *cancel_run(PyObject *self, PyObject *args)
{
    struct cancel *before = current;
    Py_ssize_t n = PyTuple_Size(args);
    PyObject *rest, *result;

    if (n < 1) {
        PyErr_SetString(PyExc_TypeError, "run() needs a function");
        return NULL;
    }
    rest = PyTuple_GetSlice(args, 1, n);
    if (!rest)
        return NULL;
    current = (struct cancel *)self;
    result = PyObject_Call(PyTuple_GetItem(args, 0), rest, NULL);
    current = before;
    Py_DECREF(rest);
    return result;
}

static void cancel_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

    release(self);
    Py_DECREF(type);
}

static PyMethodDef cancel_methods[] = {
    NATIVE_METHOD("set", cancel_set, "End the calls that run under it, now and later."),
    NATIVE_METHOD("is_set", cancel_is_set, "Whether set() was called."),
    NATIVE_METHOD("run", cancel_run, "run(function, *args): call it so that set() ends its calls."),
    { NULL, NULL, 0, NULL },
};

static char cancel_doc[] = "Ends blocking calls of another thread.";
static PyType_Slot cancel_slots[] = {
    { Py_tp_doc, cancel_doc },
    { Py_tp_new, PyType_GenericNew },
    { Py_tp_dealloc, cancel_dealloc },
    { Py_tp_methods, cancel_methods },
    { 0, NULL },
};

PyType_Spec native_cancel_spec = {
    .name = "sandbox._native.Cancel",
    .basicsize = sizeof(struct cancel),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = cancel_slots,
};
