/* script.c - what the shells of sessions run.
 *
 * make:  $1 directory, $2 shell that is asked for or empty, $3 and $4 the scripts for bash and sh.
 *        Makes the directory for its user alone, prints the shell and writes the first state; one
 *        that is there already stays. Whoever owns the directory above can put another one in its
 *        place, so that must be root's or the user's own; root takes it from a stranger. Each is
 *        looked at once (ls): what is tested piece by piece may be another in between.
 * bash:  $1 directory, $2 id of the command, $3 "keep" or empty, $4 directory of this command or
 *        empty, $5 the command, or empty: it is read from standard input, eight digits that count
 *        its bytes before it, and written to "now" behind the id; the end of input ends the shell.
 *        State is two files in turn, a and b, and "slot" says which is whole.
 *
 * sh:    the same for a plain POSIX shell: variables, directory, umask and options, no functions.
 *
 * end:   $1 id of the session, $2 directory. Kills whatever carries the session's variable.
 *
 * signal:
 *        $1 process that leads the command's group, $2 signal. Waits until the shell hears it: bash
 *        that gets one between a look for signals and the wait for its next child acts on it when
 *        that child has ended, and the child loses it between its fork and its exec. Who waits or
 *        reads sleeps, so nobody is in between when the shell and all of its forks do (flag 64 of
 *        stat: forked, not executed). A shell that computes all the time gets it after a second.
 *
 * Names that begin with __smx_ are ours and are not part of the state. The bash script writes only
 * what differs from a new shell with the sandbox's environment: reading it back is what the next
 * command waits for. Files are written over in place, which is cheap where making one shorter is
 * not; what may be left of a longer one lies behind its 'return', or behind the name "/". What is
 * parsed after the command is parsed without its aliases.
 *
 * Its first mark (';') comes before the state is written, whenever the exit code is certain by then
 * (it is not when a signal ends the shell); the second (':') when all is done. By then it ignores
 * the signals that it may: a stop of the sandbox waits for what an answered command left to be
 * written.
 */
#include "compose/internal.h"

const char session_script_make[] =
    "old=$(umask)\n"
    "umask 077\n"
    "top=" SESSION_DIR "\n"
    "mine() {\n"
    "read -r mode links owner rest\n"
    "case $mode in d$1*) [ \"$owner\" = 0$2 ] || [ \"$owner\" = \"$(id -u)\" ] ;;\n"
    "*) false ;; esac\n"
    "}\n"
    "{\n"
    "mkdir -m 1777 $top || ls -ldn $top | mine '????????t' || {\n"
    "chown -h 0:0 $top || exit 1\n"
    "if [ -d $top ] && [ ! -L $top ]; then chmod 1777 $top\n"
    "else rm -f $top; mkdir -m 1777 $top; fi\n"
    "ls -ldn $top | mine '????????t' || exit 1\n"
    "}\n"
    "mkdir \"$1\" || ls -ldn \"$1\" | mine '' x || exit 1\n"
    "} 2>/dev/null\n"
    "umask \"$old\"\n"
    "have=sh\n"
    "command -v bash >/dev/null && have=bash\n"
    "[ \"$2\" = bash ] && [ $have = sh ] && exit 3\n"
    "[ \"$2\" = sh ] && have=sh\n"
    "echo $have\n"
    "[ -s \"$1/slot\" ] && exit 0\n"
    "[ $have = bash ] && exec bash --norc --noprofile -c \"$3\" bash \"$1\" '' keep '' :\n"
    "exec sh -c \"$4\" sh \"$1\" '' keep '' :\n";

const char session_script_bash[] =
    "__smx_dir=$1 __smx_end=$2 __smx_keep=$3 __smx_cwd=$4 __smx_cmd=$5\n"
    "__smx_trap='{ __smx_rc=$? __smx_at=$BASH_COMMAND __smx_opts=$BASHOPTS;"
    " \\trap \"\" HUP INT TERM; \\shopt -u expand_aliases; } 2>/dev/null\n"
    "{\n"
    "if [[ $__smx_done || $__smx_at == exit* ]]; then\n"
    "printf \"\\036%s;%d\\036\" \"$__smx_end\" \"$__smx_rc\"\n"
    "printf \"\\036%s;%d\\036\" \"$__smx_end\" \"$__smx_rc\" >&3\n"
    "fi\n"
    "eval \"$__smx_save\"\n"
    "} 3>&2 2>/dev/null'\n"
    "__smx_save='{\n"
    "[[ :$__smx_opts: == *:expand_aliases:* ]] && shopt -s expand_aliases\n"
    "set -- \"$__smx_rc\" \"$__smx_end\" \"$__smx_dir\" \"$__smx_slot\" \"$PWD\" "
    "\"$@\"\n"
    "if [[ $__smx_keep ]]; then\n"
    "[[ $__smx_cwd ]] && set -- \"${@:1:4}\" \"$__smx_home\" \"${@:6}\"\n"
    "if [[ $4 == a ]]; then set -- \"${@:1:3}\" b \"${@:5}\"\n"
    "else set -- \"${@:1:3}\" a \"${@:5}\"; fi\n"
    "{\n"
    "__smx_now=$SHELLOPTS\n"
    "if [[ $__smx_now != \"$__smx_set\" ]]; then\n"
    "echo \"__smx_set() {\"; set +o; echo \"}\"\n"
    "set +euxC\n"
    "fi\n"
    "[[ $BASHOPTS == \"$__smx_shopt\" ]] || shopt -p\n"
    "declare -f; export -f\n"
    "for __smx_n in \"${!__smx_old[@]}\"; do\n"
    "[[ -v $__smx_n ]] || printf \"unset -v %q\\n\" \"$__smx_n\"\n"
    "done\n"
    "shopt -s extglob\n"
    "{ compgen -v -X \"$__smx_own\"; echo /; } 1<>\"$3/names\"\n"
    "mapfile -t __smx_all <\"$3/names\"\n"
    "__smx_names=()\n"
    "for __smx_n in \"${__smx_all[@]}\"; do\n"
    "[[ $__smx_n == / ]] && break\n"
    "[[ ${!__smx_n@a}:${!__smx_n} == \"${__smx_old[$__smx_n]-}\" ]] ||"
    " __smx_names+=(\"$__smx_n\")\n"
    "done\n"
    "printf \"[[ \\$PWD == %q ]] || builtin cd -- %q\\n\" \"$5\" \"$5\"\n"
    "((${#__smx_names[@]})) && declare -p \"${__smx_names[@]}\"\n"
    "umask -p\n"
    "printf \"set --\"\n"
    "(($# > 5)) && printf \" %q\" \"${@:6}\"\n"
    "echo\n"
    "[[ $__smx_now == \"$__smx_set\" ]] || printf \"__smx_set\\nunset -f "
    "__smx_set\\n\"\n"
    "alias -p\n"
    "printf \"%s\\n\" \"\\\\return 0\"\n"
    "} 1<>\"$3/$4\" && echo \"$4\" 1<>\"$3/slot\"\n"
    "fi\n"
    "printf \"\\036%s:%d\\036\" \"$2\" \"$1\"\n"
    "printf \"\\036%s:%d\\036\" \"$2\" \"$1\" >&3\n"
    "}'\n"
    "__smx_own='@(__smx_*|BASH?(OPTS|PID|_ALIASES|_ARG[CV]|_ARGV0|_CMDS|_COMMAND|"
    "_EXECUTION_STRING|_LINENO|_LOADABLES_PATH|_REMATCH|_SOURCE|_SUBSHELL|_VERSI*)|"
    "COMP_WORDBREAKS|DIRSTACK|EPOCH*|EUID|FUNCNAME|GROUPS|HISTCMD|HOSTNAME|HOSTTYPE|"
    "LINENO|MACHTYPE|OPTERR|OSTYPE|PIPESTATUS|PPID|PWD|RANDOM|SECONDS|SHELLOPTS|"
    "SHLVL|SRANDOM|UID|_)'\n"
    "{\n"
    "mapfile -d '' -t __smx_env </proc/self/environ\n"
    "declare -A __smx_old\n"
    "for __smx_n in \"${__smx_env[@]}\"; do __smx_old[${__smx_n%%=*}]=x:${__smx_n#*=}; "
    "done\n"
    "for __smx_n in IFS OPTIND PS4 SHELL TERM; do __smx_old[$__smx_n]=${!__smx_n@a}:${!__smx_n}; "
    "done\n"
    "set --\n"
    "shopt -s expand_aliases\n"
    "__smx_set=$SHELLOPTS __smx_shopt=$BASHOPTS\n"
    "if [[ ! $__smx_cmd ]]; then\n"
    "LC_ALL=C IFS= read -r -N 8 __smx_n && LC_ALL=C IFS= read -r -N \"$__smx_n\" __smx_cmd ||"
    " exit\n"
    "exec </dev/null\n"
    "printf \"%s%s\\0\" \"$__smx_end\" \"$__smx_cmd\" 1<>\"$__smx_dir/now\"\n"
    "SECONDS=0\n"
    "fi\n"
    "read -r __smx_slot <\"$__smx_dir/slot\"\n"
    "[[ $__smx_slot ]] && . \"$__smx_dir/$__smx_slot\"\n"
    "__smx_home=$PWD\n"
    "[[ $__smx_cwd ]] && builtin cd -- \"$__smx_cwd\"\n"
    "trap \"$__smx_trap\" EXIT\n"
    "} 2>/dev/null\n"
    "eval \"$__smx_cmd\"\n"
    "{ __smx_rc=$? __smx_done=1; \\trap \"$__smx_trap\" EXIT; } 2>/dev/null\n"
    "\\exit \"$__smx_rc\"\n";

const char session_script_sh[] =
    "__smx_dir=$1 __smx_end=$2 __smx_keep=$3 __smx_cwd=$4 __smx_cmd=$5\n"
    "__smx_trap='{\n"
    "__smx_rc=$?\n"
    "if [ \"$__smx_keep\" ]; then\n"
    "__smx_at=$PWD\n"
    "[ \"$__smx_cwd\" ] && __smx_at=$__smx_home\n"
    "if [ \"$__smx_slot\" = a ]; then __smx_slot=b; else __smx_slot=a; fi\n"
    "{\n"
    "echo \"__smx_set() {\"; set +o; echo \"}\"\n"
    "set +eux\n"
    "set; export -p; readonly -p; echo \"umask $(umask)\"; echo __smx_set\n"
    "} >|\"$__smx_dir/$__smx_slot\" && {\n"
    "cd -- \"$__smx_at\" && pwd -P >|\"$__smx_dir/$__smx_slot.cwd\"\n"
    "echo \"$__smx_slot\" >|\"$__smx_dir/slot\"; }\n"
    "fi\n"
    "printf \"\\036%s:%d\\036\" \"$__smx_end\" \"$__smx_rc\"\n"
    "printf \"\\036%s:%d\\036\" \"$__smx_end\" \"$__smx_rc\" >&3\n"
    "} 3>&2 2>/dev/null'\n"
    "__smx_use() {\n"
    "read -r __smx_slot <\"$__smx_dir/slot\" || return\n"
    ". \"$__smx_dir/$__smx_slot\"\n"
    "__smx_dir=$1 __smx_end=$2 __smx_keep=$3 __smx_cwd=$4 __smx_cmd=$5\n"
    "read -r __smx_slot <\"$__smx_dir/slot\"\n"
    "IFS= read -r __smx_home <\"$__smx_dir/$__smx_slot.cwd\" && cd -- \"$__smx_home\"\n"
    "}\n"
    "{\n"
    "__smx_use \"$@\"\n"
    "set --\n"
    "__smx_home=$PWD\n"
    "[ \"$__smx_cwd\" ] && cd -- \"$__smx_cwd\"\n"
    "trap \"$__smx_trap\" EXIT\n"
    "} 2>/dev/null\n"
    "eval \"$__smx_cmd\"\n"
    "exit\n";

/* In rounds: what is killed may have started something just before. */
const char session_script_end[] =
    "for round in 1 2 3 4 5 6 7 8; do\n"
    "found=\n"
    "for f in $(grep -lzxF -e \"SANDMUX_SESSION=$1\" /proc/[0-9]*/environ 2>/dev/null); do\n"
    "p=${f#/proc/}\n"
    "kill -9 \"${p%/environ}\" 2>/dev/null && found=1\n"
    "done\n"
    "[ \"$found\" ] || break\n"
    "done\n"
    "rm -rf -- \"$2\"\n";

const char session_script_signal[] =
    "lead=$1 signo=$2 looks=0\n"
    "heard() {\n"
    "for f in /proc/[0-9]*/stat; do\n"
    "read -r line <\"$f\" || continue\n"
    "set -- ${line##*) }\n"
    "[ \"$3\" = \"$lead\" ] || continue\n"
    "case $1 in [SZTtXx]) continue ;; esac\n"
    "case $line in \"$lead (bash) \"* | \"$lead (sh) \"* | \"$lead (dash) \"*) return 1 ;; esac\n"
    "[ $(($7 & 64)) = 0 ] || return 1\n"
    "done\n"
    "}\n"
    "until heard || [ $looks = 50 ]; do\n"
    "looks=$((looks + 1))\n"
    "sleep 0.02\n"
    "done 2>/dev/null\n"
    "kill -\"$signo\" -\"$lead\" 2>/dev/null\n";
