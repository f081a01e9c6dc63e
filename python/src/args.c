/* args.c - texts, pairs and commands of Python as libsandmux wants them. What is made here lives
 * until the _done() call; all of it runs with the interpreter's lock. */
#include "native.h"

/* The text as UTF-8 with its own life, or NULL with an exception that names the argument. */
static const char *keep_text(struct native_texts *t, PyObject *text, const char *what)
{
    PyObject *bytes;
    char *data;
    Py_ssize_t n;
    int bad;

    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "%s: must be str, not %R", what, (PyObject *)Py_TYPE(text));
        return NULL;
    }
    bytes = PyUnicode_AsUTF8String(text);
    bad = !bytes || PyList_Append(t->kept, bytes) < 0;
    Py_XDECREF(bytes);
    if (bad || PyBytes_AsStringAndSize(bytes, &data, &n) < 0)
        return NULL;
    if (memchr(data, '\0', (size_t)n)) {
        PyErr_Format(PyExc_ValueError, "%s: must not contain a NUL character", what);
        return NULL;
    }
    return data;
}

void native_texts_done(struct native_texts *t)
{
    PyMem_Free(t->pairs);
    PyMem_Free(t->argv);
    Py_XDECREF(t->kept);
    *t = (struct native_texts){ 0 };
}

int native_pairs(PyObject *dict, const char *what, struct native_texts *ret)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;

    *ret = (struct native_texts){ 0 };
    if (!dict || dict == Py_None)
        return 1;
    if (!PyDict_Check(dict)) {
        PyErr_Format(PyExc_TypeError, "%s: must be a dict of str to str", what);
        return 0;
    }
    ret->kept = PyList_New(0);
    ret->pairs = PyMem_Calloc((size_t)PyDict_Size(dict) + 1, sizeof *ret->pairs);
    if (!ret->kept || !ret->pairs) {
        PyErr_NoMemory();
        return 0;
    }
    while (PyDict_Next(dict, &at, &key, &value)) {
        struct smx_pair *p = &ret->pairs[ret->n];

        p->key = keep_text(ret, key, what);
        p->value = p->key ? keep_text(ret, value, what) : NULL;
        if (!p->value)
            return 0;
        ret->n++;
    }
    return 1;
}

int native_argv(PyObject *sequence, struct native_texts *ret)
{
    PyObject *list = PySequence_List(sequence);
    Py_ssize_t n = list ? PyList_Size(list) : -1;

    *ret = (struct native_texts){ 0 };
    if (n < 0)
        return 0;
    ret->kept = PyList_New(0);
    ret->argv = PyMem_Calloc((size_t)n + 1, sizeof *ret->argv);
    if (!ret->kept || !ret->argv)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; ret->kept && ret->argv && i < n; i++) {
        ret->argv[i] = keep_text(ret, PyList_GetItem(list, i), "command");
        if (!ret->argv[i])
            break;
        ret->n++;
    }
    Py_DECREF(list);
    return ret->n == (size_t)n && !PyErr_Occurred();
}

static int shell_text(PyObject *command, struct native_command *ret)
{
    ret->argv.kept = PyList_New(0);
    ret->spec.shell = ret->argv.kept ? keep_text(&ret->argv, command, "command") : NULL;
    return ret->spec.shell != NULL;
}

int native_command(PyObject *command, PyObject *env, struct native_command *ret)
{
    int ok;

    *ret = (struct native_command){ 0 };
    if (PyUnicode_Check(command))
        ok = shell_text(command, ret);
    else if (PyList_Check(command) || PyTuple_Check(command))
        ok = native_argv(command, &ret->argv);
    else {
        PyErr_SetString(PyExc_TypeError, "command: must be str, or a list or tuple of str");
        return 0;
    }
    if (ok)
        ok = native_pairs(env, "env", &ret->env);
    if (!ok) {
        native_command_done(ret);
        return 0;
    }
    ret->spec.argv = ret->argv.argv;
    ret->spec.env = ret->env.pairs;
    ret->spec.n_env = ret->env.n;
    return 1;
}

void native_command_done(struct native_command *c)
{
    native_texts_done(&c->argv);
    native_texts_done(&c->env);
}
