/* exec_request.c - how a request to run something is checked and written. */
#include "client/exec.h"

int exec_check(const struct smx_exec_spec *spec, struct smx_err *err)
{
    int r;

    if (!spec->shell == !(spec->argv && spec->argv[0]))
        return smx_err_set(err, SMX_E_INVALID, "give either shell text or an argv, not %s",
            spec->shell ? "both" : "neither");
    r = text_check("command", spec->shell, err);
    for (size_t i = 0; r == 0 && !spec->shell && spec->argv[i]; i++)
        r = text_check("command", spec->argv[i], err);
    if (r == 0)
        r = text_check("cwd", spec->cwd, err);
    if (r == 0)
        r = text_check("user", spec->user, err);
    return r == 0 ? text_check_pairs("env", spec->env, spec->n_env, err) : r;
}

void exec_write(struct json_writer *w, const struct smx_exec_spec *spec)
{
    json_key(w, "command");
    if (spec->shell) {
        json_string(w, spec->shell);
    } else {
        json_array_begin(w);
        for (size_t i = 0; spec->argv[i]; i++)
            json_string(w, spec->argv[i]);
        json_array_end(w);
    }
    if (spec->cwd)
        json_kv_string(w, "cwd", spec->cwd);
    if (spec->user)
        json_kv_string(w, "user", spec->user);
    if (spec->n_env)
        json_pairs(w, "env", spec->env, spec->n_env);
    if (spec->timeout_ms) {
        json_key(w, "timeout_s");
        json_double(w, (double)spec->timeout_ms / 1000.0);
    }
}
