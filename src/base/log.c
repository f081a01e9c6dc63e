/* log.c - see log.h. A record is formatted on the stack and written by one write(2), so that lines
 * of several processes do not mix. Control characters become spaces: a hostile string cannot forge
 * a line. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/clock.h"

enum { LOG_LINE_MAX = 1024 };

static const char *log_program = "sandmux";
static enum smx_log_level log_threshold = SMX_LOG_INFO;
static const char *const level_names[] = { "error", "warn", "info", "debug" };

void smx_log_init(const char *program, enum smx_log_level level)
{
    log_program = program;
    log_threshold = level;
}

bool smx_log_level_parse(const char *name, enum smx_log_level *ret)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(level_names); i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *ret = (enum smx_log_level)i;
            return true;
        }
    }
    return false;
}

enum smx_log_level smx_log_level(void)
{
    return log_threshold;
}

void smx_log(enum smx_log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_MAX];
    char when[SMX_RFC3339_SIZE];
    size_t len, max = sizeof line - 1;
    va_list ap;

    if (level > log_threshold)
        return;
    smx_rfc3339_format(when, smx_now_unix_ms());
    snprintf(line, max, "%s %s %s: ", when, level_names[level], log_program);
    len = strlen(line);
    va_start(ap, fmt);
    vsnprintf(line + len, max - len, fmt, ap);
    va_end(ap);
    len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[len++] = '\n';
    smx_write_full(STDERR_FILENO, line, len);
}
