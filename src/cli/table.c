/* table.c - every command of sandmux. Constant data; order is the order of the help. */
#include "cli/cli.h"

const struct cli_option cli_global_options[] = {
    { 0, "json", NULL, "print JSON; errors too, as JSON on stderr" },
    { 0, "url", "URL",
        "daemon to talk to: http://host:port, https://host:port or unix:/path (SANDMUX_URL)" },
    { 0, "no-start", NULL, "fail when no daemon is running instead of starting one" },
    { 'v', "verbose", NULL,
        "show each call to the daemon on stderr; the daemon itself: debug lines" },
    { 'h', "help", NULL, "show this help" },
    { 0 },
};

static const struct cli_option serve_options[] = {
    { 0, "auto", NULL,
        "as a client starts it: unix socket only, ends when there is nothing to do" },
    { 0 },
};

static const struct cli_option shutdown_options[] = {
    { 0, "all", NULL, "delete every sandbox first" },
    { 0 },
};

#define CREATE_OPTIONS                                                                            \
    { 'T', "template", "NAME", "template; default: the runtime's" },                              \
        { 0, "runtime", "NAME", "daytona, e2b or local; default: the current one" },              \
        { 0, "project", "ID", "project that the sandbox belongs to" },                            \
        { 'e', "env", "KEY=VALUE",                                                                \
            "environment of the sandbox; KEY alone: as it is here; may be repeated" },            \
        { 0, "env-file", "FILE", "lines KEY=VALUE, for what should not stand in the arguments" }, \
        { 'm', "metadata", "KEY=VALUE", "note on the sandbox; may be repeated" },                 \
        { 0, "password-file", "FILE", "password of its desktop; - reads stdin" },                 \
        { 0, "password-env", "NAME", "the same from a variable of our environment" },             \
        { 0, "lifetime", "TIME",                                                                  \
            "such as 90, 10m or 2h; 0: no end; default: an hour from the last use" },             \
        { 0, "cpu", "N", "cores" }, { 0, "memory", "MIB", "memory in MiB" },                      \
    {                                                                                             \
        0, "disk", "MIB", "disk in MiB"                                                           \
    }

static const struct cli_option create_options[] = {
    { 'n', "name", "NAME", "name to find it by" },
    { 0, "ensure", NULL, "with --name: take the one that exists, start it, or make it" },
    CREATE_OPTIONS,
    { 'q', "quiet", NULL, "print the id only" },
    { 0 },
};

#define EXEC_OPTIONS                                                                            \
    { 'u', "user", "NAME", "user in the sandbox; default: root" },                              \
        { 'w', "workdir", "PATH", "working directory; default: /workspace" },                   \
        { 'c', "command", "TEXT", "run this text by the user's shell instead of a program" },   \
        { 0, "timeout", "TIME", "kill the command after this, such as 30, 1.5, 500ms or 10m" }, \
        { 'i', "interactive", NULL,                                                             \
            "give our stdin to the command (a pipe or file is given anyway)" },                 \
        { 't', "tty", NULL, "run it on a terminal" },                                           \
    {                                                                                           \
        0, "no-stdin", NULL, "do not read our stdin"                                            \
    }

static const struct cli_option run_options[] = {
    { 0, "keep", NULL, "do not delete the sandbox at the end; its id goes to stderr" },
    { 'n', "name", "NAME", "name of the sandbox" },
    CREATE_OPTIONS,
    EXEC_OPTIONS,
    { 0 },
};

static const struct cli_option exec_options[] = {
    { 'e', "env", "KEY=VALUE",
        "environment of the command; KEY alone: as it is here; may be repeated" },
    { 0, "env-file", "FILE", "lines KEY=VALUE, for what should not stand in the arguments" },
    EXEC_OPTIONS,
    { 0 },
};

static const struct cli_option ps_options[] = {
    { 'q', "quiet", NULL, "print ids only" },
    { 0, "state", "STATE", "only those in this state" },
    { 0, "runtime", "NAME", "only those on this runtime" },
    { 0, "project", "ID", "only those of this project" },
    { 0 },
};

static const struct cli_option cp_options[] = {
    { 'u', "user", "NAME", "user in the sandbox that reads or owns the files; default: root" },
    { 'q', "quiet", NULL, "no progress" },
    { 0 },
};

static const struct cli_option rm_options[] = {
    { 'f', "force", NULL, "what is not there is no failure" },
    { 'a', "all", NULL, "every sandbox" },
    { 'q', "quiet", NULL, "print nothing" },
    { 0 },
};

static const struct cli_option logs_options[] = {
    { 'f', "follow", NULL, "go on with new lines" },
    { 'n', "tail", "N", "only the last N lines" },
    { 0 },
};

static const struct cli_option backup_options[] = {
    { 'o', "output", "FILE", "where to; - is stdout; default: SANDBOX.tar" },
    { 0, "path", "PATH", "only this folder or file; default: /workspace, /home and /root" },
    { 'q', "quiet", NULL, "no progress" },
    { 0 },
};

static const struct cli_option restore_options[] = {
    { 'n', "name", "NAME", "name of the sandbox that is made" },
    CREATE_OPTIONS,
    { 'q', "quiet", NULL, "no progress" },
    { 0 },
};

static const struct cli_option migrate_options[] = {
    { 0, "to", "RUNTIME", "where to: daytona, e2b or local" },
    { 'T', "template", "NAME", "template there; default: the one it has" },
    { 0 },
};

static const struct cli_option session_options[] = {
    { 'u', "user", "NAME", "create: user of its commands; default: root" },
    { 'w', "workdir", "PATH", "create: where it starts; exec: for this command alone" },
    { 0, "shell", "NAME", "create: bash or sh; default: bash where there is one" },
    { 'd', "async", NULL, "exec: return while it runs and print its id" },
    { 0, "timeout", "TIME", "exec: kill the command after this" },
    { 'f', "follow", NULL, "logs: go on until the command ends" },
    { 0 },
};

static const struct cli_option switch_options[] = {
    { 0, "live", NULL, "ask the runtime first: is the key accepted, is the template there" },
    { 0, "dry-run", NULL, "only say whether it would work" },
    { 0, "force", NULL, "do not ask the runtime" },
    { 0 },
};

static const struct cli_option validate_options[] = {
    { 0, "live", NULL, "ask the runtime, too: is the key accepted, is the template there" },
    { 0 },
};

static const struct cli_option events_options[] = {
    { 'f', "follow", NULL, "go on with new events" },
    { 0, "since", "N", "only events after number N" },
    { 0 },
};

static const struct cli_option config_options[] = {
    { 0, "origin", NULL, "say where each value comes from" },
    { 0 },
};

static const struct cli_option tls_options[] = {
    { 0, "domain", "NAME",
        "domain to be served, with the names below it; a comma separates several; default: "
        "SANDMUX_DOMAIN, else sandmux.localhost" },
    { 0, "dir", "PATH", "directory of the files; default: tls in the state directory" },
    { 0, "force", NULL, "make a new authority, and replace what is there" },
    { 0 },
};

static const struct cli_option env_options[] = {
    { 0, "sdk", "NAME", "e2b: for E2B's SDKs and CLI; sandmux: for our own clients, the default" },
    { 0, "shell", "NAME", "sh, fish, powershell or dotenv; default: sh" },
    { 0, "tls", NULL, "domain and HTTPS, even if the domain does not resolve here" },
    { 0, "no-tls", NULL, "URLs of plain HTTP, even if the daemon serves HTTPS" },
    { 0 },
};

static const struct cli_option help_options[] = {
    { 0, "markdown", NULL, "everything, as docs/cli.md" },
    { 0, "man", NULL, "everything, as a manual page" },
    { 0 },
};

const struct cli_command cli_commands[] = {
    { .name = "run",
        .args = "[COMMAND [ARG...]]",
        .summary = "run a command in a new sandbox and delete it",
        .text = "Creates a sandbox, runs the command in it (a shell when none is named), with a "
                "terminal when stdin is one, and deletes the sandbox, also after Ctrl-C. The exit "
                "status is the command's.",
        .options = run_options,
        .examples = "sandmux run -- python3 -c 'print(6 * 7)'\n"
                    "sandmux run\n"
                    "sandmux run --keep --name box -- make test",
        .run = cmd_run,
        .max = SIZE_MAX,
        .stop = 1,
        .flags = CLI_EXEC },
    { .name = "create",
        .args = "",
        .summary = "create a sandbox and print its id",
        .options = create_options,
        .examples = "sandmux create\n"
                    "sandmux create --name web --lifetime 2h -e PORT=8080\n"
                    "sandmux create --name web --ensure --json",
        .run = cmd_create },
    { .name = "exec",
        .args = "SANDBOX [COMMAND [ARG...]]",
        .summary = "run a command in a sandbox",
        .text = "Output comes byte by byte as the command wrote it. The exit status is the "
                "command's: 124 when it timed out, 125 when sandmux failed, 126 when it cannot be "
                "executed, 127 when it is not there, 128 + n after signal n.",
        .options = exec_options,
        .examples = "sandmux exec box -- ls -l\n"
                    "sandmux exec -it box -- bash\n"
                    "sandmux exec box -c 'ls | wc -l'\n"
                    "tar c src | sandmux exec box -- tar x",
        .run = cmd_exec,
        .min = 1,
        .max = SIZE_MAX,
        .stop = 2,
        .flags = CLI_EXEC },
    { .name = "cp",
        .args = "SOURCE TARGET",
        .summary = "copy files and folders into or out of a sandbox, or between two",
        .text =
            "One of the two, or both, is SANDBOX:PATH; the other is a path here, or - for stdin "
            "and stdout (one file). A folder is copied with modes, times, links and empty "
            "folders; into the target when that is a folder, else as it. SOURCE/. copies what is "
            "in it.",
        .options = cp_options,
        .examples = "sandmux cp app.py box:\n"
                    "sandmux cp box:/workspace/out ./out\n"
                    "sandmux cp box:/workspace/out other:\n"
                    "sandmux cp - box:notes.txt < notes.txt",
        .run = cmd_cp,
        .min = 2,
        .max = 2 },
    { .name = "session",
        .args = "create|ls|exec|logs|input|rm SANDBOX [SESSION [COMMAND...]]",
        .summary = "shell sessions that keep directory, variables and functions",
        .text = "The words of exec are joined by spaces and run as shell text; its exit status is "
                "the command's. 'exit' ends the command, not the session. 'logs' and 'input' take "
                "the id that 'exec --async' printed; 'ls' with a session lists its commands.",
        .options = session_options,
        .examples = "sandmux session create box s1\n"
                    "sandmux session exec box s1 'cd /usr; V=5'\n"
                    "sandmux session exec box s1 'pwd; echo $V'\n"
                    "sandmux session exec --async box s1 'python3 -m http.server'\n"
                    "sandmux session rm box s1",
        .run = cmd_session,
        .min = 1,
        .max = SIZE_MAX,
        .stop = 4 },
    { .name = "ps",
        .alias = "ls",
        .args = "",
        .summary = "list sandboxes",
        .options = ps_options,
        .examples = "sandmux ps\n"
                    "sandmux ps -q --state running",
        .run = cmd_ps },
    { .name = "inspect",
        .alias = "get",
        .args = "SANDBOX...",
        .summary = "show everything about sandboxes, as JSON",
        .examples = "sandmux inspect box",
        .run = cmd_inspect,
        .min = 1,
        .max = SIZE_MAX },
    { .name = "backup",
        .args = "SANDBOX",
        .summary = "save a sandbox's files as a tar file",
        .text = "Owners, modes, times, links and empty folders are kept. The file is there when it "
                "is whole. Processes and memory are not saved.",
        .options = backup_options,
        .examples = "sandmux backup box\n"
                    "sandmux backup box -o - | zstd > box.tar.zst\n"
                    "sandmux backup box --path /workspace/data -o data.tar",
        .run = cmd_backup,
        .min = 1,
        .max = 1 },
    { .name = "restore",
        .args = "FILE [SANDBOX]",
        .summary = "unpack a backup into a sandbox, or into a new one",
        .text = "Without SANDBOX one is made and its id printed. What is there already and not in "
                "the backup stays. FILE - is stdin.",
        .options = restore_options,
        .examples = "sandmux restore box.tar\n"
                    "sandmux restore box.tar other\n"
                    "zstd -dc box.tar.zst | sandmux restore - --name again",
        .run = cmd_restore,
        .min = 1,
        .max = 2 },
    { .name = "migrate",
        .args = "SANDBOX",
        .summary = "move a sandbox to another runtime",
        .text =
            "It keeps its id, name, lifetime and files (/workspace, /home, /root and sessions); "
            "its processes end. The copy is compared with the original before that is given "
            "up.",
        .options = migrate_options,
        .examples = "sandmux migrate box --to e2b",
        .run = cmd_migrate,
        .min = 1,
        .max = 1 },
    { .name = "rm",
        .args = "[SANDBOX...]",
        .summary = "delete sandboxes with their files",
        .options = rm_options,
        .examples = "sandmux rm box\n"
                    "sandmux rm --all",
        .run = cmd_rm,
        .max = SIZE_MAX },
    { .name = "start",
        .args = "SANDBOX...",
        .summary = "start stopped sandboxes",
        .examples = "sandmux start box",
        .run = cmd_start,
        .min = 1,
        .max = SIZE_MAX },
    { .name = "stop",
        .args = "SANDBOX...",
        .summary = "end the processes of sandboxes, keep the files",
        .examples = "sandmux stop box",
        .run = cmd_stop,
        .min = 1,
        .max = SIZE_MAX },
    { .name = "pause",
        .args = "SANDBOX...",
        .summary = "freeze sandboxes where they are",
        .examples = "sandmux pause box",
        .run = cmd_pause,
        .min = 1,
        .max = SIZE_MAX },
    { .name = "resume",
        .args = "SANDBOX...",
        .summary = "go on with paused sandboxes",
        .examples = "sandmux resume box",
        .run = cmd_resume,
        .min = 1,
        .max = SIZE_MAX },
    { .name = "logs",
        .args = "SANDBOX",
        .summary = "show the log of a sandbox: life cycle, processes, their ends",
        .options = logs_options,
        .examples = "sandmux logs -f box",
        .run = cmd_logs,
        .min = 1,
        .max = 1 },
    { .name = "stats",
        .args = "[SANDBOX...]",
        .summary = "show what sandboxes use of processor, memory, disk and processes",
        .text = "Without a name: all that run. A limit is shown behind the slash.",
        .examples = "sandmux stats\n"
                    "sandmux stats box --json",
        .run = cmd_stats,
        .max = SIZE_MAX },
    { .name = "events",
        .args = "",
        .summary = "show every change of sandboxes and runtimes",
        .options = events_options,
        .examples = "sandmux events -f --json",
        .run = cmd_events },
    { .name = "status",
        .args = "",
        .summary = "show where sandboxes are made and what that can do",
        .examples = "sandmux status",
        .run = cmd_status },
    { .name = "switch",
        .args = "RUNTIME",
        .summary = "make new sandboxes on another runtime",
        .options = switch_options,
        .examples = "sandmux switch local\n"
                    "sandmux switch e2b --live",
        .run = cmd_switch,
        .min = 1,
        .max = 1 },
    { .name = "validate",
        .args = "[RUNTIME]",
        .summary = "check the configuration of a runtime; status 1 when it is not right",
        .options = validate_options,
        .examples = "sandmux validate e2b --live",
        .run = cmd_validate,
        .max = 1 },
    { .name = "health",
        .args = "[RUNTIME]",
        .summary = "ask whether the current runtime, or that one, works; status 1 when not",
        .examples = "sandmux health\n"
                    "sandmux health e2b",
        .run = cmd_health,
        .max = 1 },
    { .name = "metrics",
        .args = "",
        .summary = "print the daemon's metrics in the text format of Prometheus",
        .examples = "sandmux metrics | promtool check metrics",
        .run = cmd_metrics },
    { .name = "doctor",
        .args = "",
        .summary = "check this machine and say what to do",
        .text = "Looks at what a new user could miss: privilege, kernel, cgroups, programs, port, "
                "disk, .env, the daemon. Status 1 when something stands in the way.",
        .examples = "sandmux doctor",
        .run = cmd_doctor },
    { .name = "config",
        .args = "[show]",
        .summary = "show every setting; secrets are hidden",
        .options = config_options,
        .examples = "sandmux config show --origin",
        .run = cmd_config,
        .max = 1 },
    { .name = "keys",
        .args = "create|ls|revoke [NAME|ID]",
        .summary = "make, list and revoke API keys",
        .text = "'keys create NAME' prints the key once; it cannot be shown again.",
        .examples = "sandmux keys create ci\n"
                    "sandmux keys ls\n"
                    "sandmux keys revoke k3f9",
        .run = cmd_keys,
        .min = 1,
        .max = 2 },
    { .name = "env",
        .args = "",
        .summary = "print the variables that point a program at this daemon",
        .text = "For E2B's SDKs the URLs are printed, or E2B_DOMAIN alone where the daemon serves "
                "HTTPS for a domain that resolves here. Where keys are required a new key is made, "
                "unless SANDMUX_API_KEY holds one.",
        .options = env_options,
        .examples = "eval \"$(sandmux env --sdk e2b)\"\n"
                    "sandmux env --sdk e2b --shell fish | source\n"
                    "sandmux env --sdk e2b --shell dotenv >> .env",
        .run = cmd_env },
    { .name = "tls",
        .args = "init",
        .summary = "make a private certificate authority and a certificate for HTTPS",
        .text = "Writes ca.pem, ca-key.pem, cert.pem, key.pem and bundle.pem (the system's "
                "authorities and ours). Called again it renews the certificate and keeps the "
                "authority, so that clients need nothing new.",
        .options = tls_options,
        .examples = "sandmux tls init\n"
                    "sandmux tls init --domain sandboxes.example.com --dir /etc/sandmux/tls",
        .run = cmd_tls,
        .min = 1,
        .max = 1 },
    { .name = "serve",
        .args = "",
        .summary = "run the daemon",
        .text = "Every option is also a variable of the environment or a line in .env, as "
                "'sandmux config show' lists them.",
        .options = serve_options,
        .examples = "sandmux serve\n"
                    "sandmux serve --listen 127.0.0.1:8000 --state-dir /srv/sandmux",
        .run = cmd_serve,
        .flags = CLI_SETTINGS },
    { .name = "shutdown",
        .args = "",
        .summary = "end the daemon; sandboxes stay",
        .options = shutdown_options,
        .examples = "sandmux shutdown\n"
                    "sandmux shutdown --all",
        .run = cmd_shutdown },
    { .name = "version",
        .args = "",
        .summary = "show the version of this program and of the daemon",
        .examples = "sandmux version",
        .run = cmd_version },
    { .name = "completion",
        .args = "bash|zsh|fish",
        .summary = "print a completion script",
        .examples = "source <(sandmux completion bash)\n"
                    "sandmux completion fish > ~/.config/fish/completions/sandmux.fish",
        .run = cmd_completion,
        .min = 1,
        .max = 1 },
    { .name = "help",
        .args = "[COMMAND]",
        .summary = "show help",
        .options = help_options,
        .examples = "sandmux help exec",
        .run = cmd_help,
        .max = 1 },
};
const size_t cli_commands_n = sizeof cli_commands / sizeof cli_commands[0];
