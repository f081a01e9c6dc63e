/* module.c - sandbox._native, the extension module: libsandmux for Python, without policy. Texts go
 * in as str, contents as bytes; every failure is an exception of sandbox.errors. */
#include "native.h"

static PyObject *library_version(PyObject *module, PyObject *args)
{
    return PyUnicode_FromString(smx_library_version());
}

static PyMethodDef module_methods[] = {
    { "library_version", library_version, METH_NOARGS, "Version of libsandmux." },
    { NULL, NULL, 0, NULL },
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);

    if (!type)
        return -1;
    if (PyModule_AddObject(module, name, type) == 0)
        return 0;
    Py_DECREF(type);
    return -1;
}

static int fill(PyObject *module)
{
    if (add_type(module, "Client", &native_client_spec) < 0 ||
        add_type(module, "Process", &native_process_spec) < 0 ||
        add_type(module, "Cancel", &native_cancel_spec) < 0)
        return -1;
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    { Py_mod_exec, (void *)fill },
    { 0, NULL },
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "sandbox._native",
    .m_doc = "libsandmux for Python.",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module);
}
