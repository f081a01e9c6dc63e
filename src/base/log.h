/* log.h - one line a record on stderr: time level program message key=value ... (logfmt values are
 * quoted). Libraries log at debug only; the boundary of a request logs once. Secrets never get
 * here. */
#ifndef SMX_BASE_LOG_H
#define SMX_BASE_LOG_H

#include <stdbool.h>

#include "base/cleanup.h"

enum smx_log_level { SMX_LOG_ERROR, SMX_LOG_WARN, SMX_LOG_INFO, SMX_LOG_DEBUG };

void smx_log_init(const char *program, enum smx_log_level level); /* program: static string */
bool smx_log_level_parse(const char *name, enum smx_log_level *ret);
enum smx_log_level smx_log_level(void);
void smx_log(enum smx_log_level level, const char *fmt, ...) SMX_PRINTF(2, 3);

#define smx_error(...) smx_log(SMX_LOG_ERROR, __VA_ARGS__)
#define smx_warn(...) smx_log(SMX_LOG_WARN, __VA_ARGS__)
#define smx_info(...) smx_log(SMX_LOG_INFO, __VA_ARGS__)
#define smx_debug(...) smx_log(SMX_LOG_DEBUG, __VA_ARGS__)

#endif
