/* native.h - what the files of the extension module share. Every call into libsandmux stands
 * between native_begin() and native_end(), without the interpreter's lock; in between nothing of
 * Python may be touched. Only the limited API of CPython 3.9 is used, so that one build serves
 * every later version. */
#ifndef SANDMUX_PYTHON_NATIVE_H
#define SANDMUX_PYTHON_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03090000
#include <Python.h>

#include <sandmux/archive.h>
#include <sandmux/files.h>
#include <sandmux/process.h>
#include <sandmux/sandbox.h>
#include <sandmux/sandmux.h>
#include <sandmux/session.h>

#define NATIVE_METHOD(name, fn, doc)                               \
    {                                                              \
        name, (PyCFunction)(void (*)(void))(fn), METH_VARARGS, doc \
    }

/* --- wait.c: the interpreter's lock, signals and cancelled calls -------------------------------
 */

void native_begin(void);
void native_end(void);
/* The smx_interrupt_fn of every handle: a call ends when its Cancel was set, or when a signal's
 * handler raised, whose exception is set then. */
int native_interrupt(void *arg);
/* Raises what the call said, unless an exception is set already. Always NULL. */
PyObject *native_raise(int r, const struct smx_err *err);
PyObject *native_raise_invalid(const char *text);
extern PyType_Spec native_cancel_spec;

/* --- args.c: Python values for libsandmux ------------------------------------------------------
 */

/* Texts that live as long as the object does: bytes objects, one a text. */
struct native_texts {
    PyObject *kept; /* list of bytes, NULL: nothing yet */
    struct smx_pair *pairs;
    const char **argv; /* NULL-terminated */
    size_t n;
};
void native_texts_done(struct native_texts *t);
/* A dict of str to str, or None. False with an exception set. */
int native_pairs(PyObject *dict, const char *what, struct native_texts *ret);
/* A list or tuple of str. */
int native_argv(PyObject *sequence, struct native_texts *ret);

/* What exec and process_start have in common; borrowed pointers into the arguments. */
struct native_command {
    struct smx_exec_spec spec;
    struct native_texts argv, env;
};
/* command: str or a sequence of str; env: dict or None. */
int native_command(PyObject *command, PyObject *env, struct native_command *ret);
void native_command_done(struct native_command *c);

/* --- client.c, process.c, transfer.c -----------------------------------------------------------
 */

struct native_client {
    PyObject_HEAD struct smx_client *client;
};
extern PyType_Spec native_client_spec, native_process_spec;
/* The handle of a Client; NULL with an exception set for anything else. */
struct smx_client *native_client_of(PyObject *object);

PyObject *native_read(PyObject *self, PyObject *args);
PyObject *native_read_fd(PyObject *self, PyObject *args);
PyObject *native_write(PyObject *self, PyObject *args);
PyObject *native_write_fd(PyObject *self, PyObject *args);
PyObject *native_archive_save(PyObject *self, PyObject *args);
PyObject *native_archive_load(PyObject *self, PyObject *args);

#endif
