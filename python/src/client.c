/* client.c - the type Client: a handle of libsandmux, its raw requests, creates and commands. The
 * handle lives as long as the object, and every call holds a reference to the object; so any number
 * of threads may share one. */
#include "native.h"

static PyObject *client_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct smx_client_config config = { .interrupt = native_interrupt };
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct smx_client *client = NULL;
    struct smx_err err = { 0 };
    unsigned long long timeout_ms = 0;
    struct native_client *self;
    int no_start = 0, r;

    if (!PyArg_ParseTuple(
            args, "|zzzKp", &config.url, &config.api_key, &config.program, &timeout_ms, &no_start))
        return NULL;
    config.timeout_ms = timeout_ms;
    config.flags = no_start ? SMX_CLIENT_NO_START : 0;
    native_begin();
    r = smx_client_open(&config, &client, &err);
    native_end();
    if (r < 0)
        return native_raise(r, &err);
    self = (struct native_client *)alloc(type, 0);
    if (self)
        self->client = client;
    else
        smx_client_close(client);
    return (PyObject *)self;
}

static void client_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

    smx_client_close(((struct native_client *)self)->client);
    release(self);
    Py_DECREF(type);
}

struct smx_client *native_client_of(PyObject *object)
{
    if (PyType_GetSlot(Py_TYPE(object), Py_tp_dealloc) == (void *)client_dealloc)
        return ((struct native_client *)object)->client;
    PyErr_SetString(PyExc_TypeError, "a Client is needed");
    return NULL;
}

static PyObject *client_url(PyObject *self, void *closure)
{
    return PyUnicode_FromString(smx_client_url(((struct native_client *)self)->client));
}

/* --- requests -----------------------------------------------------------------------------------
 */

static PyObject *reply_object(struct smx_reply *reply)
{
    PyObject *body = PyBytes_FromStringAndSize(reply->body, (Py_ssize_t)reply->bytes);
    PyObject *result = body ? Py_BuildValue("iN", reply->status, body) : NULL;

    smx_reply_free(reply);
    return result;
}

/* call(method, path, body=None) -> (status, body); raises for a status from 400 on. */
static PyObject *client_call(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    const char *method, *path, *body = NULL;
    struct smx_reply *reply = NULL;
    struct smx_err err = { 0 };
    int r;

    if (!PyArg_ParseTuple(args, "ss|z", &method, &path, &body))
        return NULL;
    native_begin();
    r = smx_request(client, method, path, body, &reply, &err);
    if (r == 0)
        r = smx_reply_check(reply, &err);
    native_end();
    if (r == 0 && !PyErr_Occurred())
        return reply_object(reply);
    smx_reply_free(reply);
    return native_raise(r, &err);
}

/* --- creating -----------------------------------------------------------------------------------
 */

struct create {
    struct smx_sandbox_spec spec;
    struct native_texts metadata, env;
    int ensure;
};

static int parse_create(PyObject *args, struct create *ret)
{
    struct smx_sandbox_spec *s = &ret->spec;
    unsigned long long cpu = 0, memory_mib = 0, disk_mib = 0;
    PyObject *metadata = NULL, *env = NULL;
    long long timeout_s = -1;

    *ret = (struct create){ 0 };
    if (!PyArg_ParseTuple(args, "pzzzzzOOLKKKz", &ret->ensure, &s->name, &s->template_name,
            &s->runtime, &s->project_id, &s->password, &metadata, &env, &timeout_s, &cpu,
            &memory_mib, &disk_mib, &s->idempotency_key))
        return 0;
    if (!native_pairs(metadata, "metadata", &ret->metadata) || !native_pairs(env, "env", &ret->env))
        return 0;
    s->has_timeout = timeout_s >= 0;
    s->timeout_s = timeout_s >= 0 ? (uint64_t)timeout_s : 0;
    s->resources = (struct smx_resources){ cpu, memory_mib, disk_mib };
    s->metadata = ret->metadata.pairs;
    s->n_metadata = ret->metadata.n;
    s->env = ret->env.pairs;
    s->n_env = ret->env.n;
    if (!ret->ensure || s->name)
        return 1;
    native_raise_invalid("name: a sandbox that is found or made needs one");
    return 0;
}

static PyObject *create_run(struct smx_client *client, const struct create *c)
{
    struct smx_sandbox *sandbox = NULL;
    struct smx_err err = { 0 };
    PyObject *result = NULL;
    int r;

    native_begin();
    if (c->ensure)
        r = smx_sandbox_ensure(client, c->spec.name, &c->spec, &sandbox, &err);
    else
        r = smx_sandbox_create(client, &c->spec, &sandbox, &err);
    native_end();
    if (r < 0)
        return native_raise(r, &err);
    if (!PyErr_Occurred())
        result = PyUnicode_FromString(sandbox->json);
    smx_sandbox_free(sandbox);
    return result;
}

/* create(ensure, name, template, runtime, project_id, password, metadata, env, timeout_s, cpu,
 * memory_mib, disk_mib, idempotency_key) -> JSON text of the sandbox. timeout_s -1: none named */
static PyObject *client_create(PyObject *self, PyObject *args)
{
    PyObject *result = NULL;
    struct create c;

    if (parse_create(args, &c))
        result = create_run(((struct native_client *)self)->client, &c);
    native_texts_done(&c.metadata);
    native_texts_done(&c.env);
    return result;
}

/* --- commands -----------------------------------------------------------------------------------
 */

static PyObject *exec_object(const struct smx_exec_result *r)
{
    return Py_BuildValue("iiiiKy#y#", r->exit_code, r->signal, r->timed_out, r->truncated,
        (unsigned long long)r->duration_ms, r->stdout_data, (Py_ssize_t)r->stdout_bytes,
        r->stderr_data, (Py_ssize_t)r->stderr_bytes);
}

static PyObject *exec_run(
    struct smx_client *client, const char *id, const struct smx_exec_spec *spec)
{
    struct smx_exec_result *result = NULL;
    struct smx_err err = { 0 };
    PyObject *object = NULL;
    int r;

    native_begin();
    r = smx_exec(client, id, spec, &result, &err);
    native_end();
    if (r < 0)
        return native_raise(r, &err);
    if (!PyErr_Occurred())
        object = exec_object(result);
    smx_exec_result_free(result);
    return object;
}

/* exec(id, command, cwd, user, env, stdin, timeout_ms, max_output_bytes) ->
 * (exit_code, signal, timed_out, truncated, duration_ms, stdout, stderr) */
static PyObject *client_exec(PyObject *self, PyObject *args)
{
    const char *id, *cwd, *user, *input = NULL;
    unsigned long long timeout_ms, max_output;
    PyObject *command, *env, *result;
    Py_ssize_t n_input = 0;
    struct native_command c;

    if (!PyArg_ParseTuple(args, "sOzzOz#KK", &id, &command, &cwd, &user, &env, &input, &n_input,
            &timeout_ms, &max_output) ||
        !native_command(command, env, &c))
        return NULL;
    c.spec.cwd = cwd;
    c.spec.user = user;
    c.spec.stdin_data = input;
    c.spec.stdin_bytes = (size_t)n_input;
    c.spec.timeout_ms = timeout_ms;
    c.spec.max_output_bytes = max_output;
    result = exec_run(((struct native_client *)self)->client, id, &c.spec);
    native_command_done(&c);
    return result;
}

/* session_exec(id, session, command, cwd, async, timeout_ms) -> JSON text */
static PyObject *client_session_exec(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    struct smx_session_result *result = NULL;
    struct smx_session_exec spec = { 0 };
    unsigned long long timeout_ms;
    const char *id, *session;
    struct smx_err err = { 0 };
    PyObject *object = NULL;
    int r;

    if (!PyArg_ParseTuple(
            args, "ssszpK", &id, &session, &spec.command, &spec.cwd, &spec.async, &timeout_ms))
        return NULL;
    spec.timeout_ms = timeout_ms;
    native_begin();
    r = smx_session_exec(client, id, session, &spec, &result, &err);
    native_end();
    if (r < 0)
        return native_raise(r, &err);
    if (!PyErr_Occurred())
        object = PyUnicode_FromString(result->json);
    smx_session_result_free(result);
    return object;
}

/* migrate(id, runtime, template) -> JSON text of the sandbox */
static PyObject *client_migrate(PyObject *self, PyObject *args)
{
    struct smx_client *client = ((struct native_client *)self)->client;
    const char *id, *runtime, *template_name;
    struct smx_sandbox *sandbox = NULL;
    struct smx_err err = { 0 };
    PyObject *result = NULL;
    int r;

    if (!PyArg_ParseTuple(args, "ssz", &id, &runtime, &template_name))
        return NULL;
    native_begin();
    r = smx_sandbox_migrate(client, id, runtime, template_name, &sandbox, &err);
    native_end();
    if (r < 0)
        return native_raise(r, &err);
    if (!PyErr_Occurred())
        result = PyUnicode_FromString(sandbox->json);
    smx_sandbox_free(sandbox);
    return result;
}

static PyMethodDef client_methods[] = {
    NATIVE_METHOD("call", client_call, "call(method, path, body=None) -> (status, body)"),
    NATIVE_METHOD("create", client_create, "create(ensure, ...) -> JSON text"),
    NATIVE_METHOD("exec", client_exec, "Run a command to its end."),
    NATIVE_METHOD("read", native_read, "read(id, path) -> bytes"),
    NATIVE_METHOD("read_fd", native_read_fd, "read_fd(id, path, fd)"),
    NATIVE_METHOD("write", native_write, "write(id, path, data, mode)"),
    NATIVE_METHOD("write_fd", native_write_fd, "write_fd(id, path, fd, mode)"),
    NATIVE_METHOD("archive_save", native_archive_save, "archive_save(id, path, fd)"),
    NATIVE_METHOD("archive_load", native_archive_load, "archive_load(id, fd)"),
    NATIVE_METHOD("session_exec", client_session_exec, "session_exec(...) -> JSON text"),
    NATIVE_METHOD("migrate", client_migrate, "migrate(id, runtime, template) -> JSON text"),
    { NULL, NULL, 0, NULL },
};

static PyGetSetDef client_getters[] = {
    { "url", client_url, NULL, "What the handle is connected to.", NULL },
    { NULL, NULL, NULL, NULL, NULL },
};

static char client_doc[] = "A connection to a sandmux daemon, found or started.";
static PyType_Slot client_slots[] = {
    { Py_tp_doc, client_doc },
    { Py_tp_new, client_new },
    { Py_tp_dealloc, client_dealloc },
    { Py_tp_methods, client_methods },
    { Py_tp_getset, client_getters },
    { 0, NULL },
};

PyType_Spec native_client_spec = {
    .name = "sandbox._native.Client",
    .basicsize = sizeof(struct native_client),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = client_slots,
};
