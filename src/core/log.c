/* log.c - the log of a sandbox: a ring of lines in memory that grows from nothing to
 * SANDBOX_LOG_LINES. Lines are numbered from 1; readers that fall behind go on with the oldest. */
#include "core/internal.h"

#include <stdarg.h>
#include <stdio.h>

enum { ROOM_FIRST = 8 };

void log_done(struct sandbox_log *l)
{
    for (size_t i = 0; i < l->room; i++)
        smx_free(l->v[i]);
    smx_free(l->v);
}

/* Doubles the ring while it is not at its maximum and full. */
static bool make_room(struct sandbox_log *l)
{
    size_t room = l->room ? 2 * l->room : ROOM_FIRST;
    struct log_line **v;

    if (l->last + 1 < l->room || l->room == SANDBOX_LOG_LINES)
        return true;
    v = smx_alloc_array(room, sizeof(struct log_line *));
    if (!v)
        return l->room > 0;
    for (uint64_t seq = l->last > l->room ? l->last - l->room + 1 : 1; seq <= l->last; seq++)
        v[seq % room] = l->v[seq % l->room];
    smx_free(l->v);
    l->v = v;
    l->room = room;
    return true;
}

void sandbox_logf(struct sandbox *sb, const char *fmt, ...)
{
    struct sandbox_log *l = &sbx_of(sb)->log;
    char text[SANDBOX_LOG_LINE_MAX];
    struct log_line *line;
    va_list ap;
    size_t n;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    n = strlen(text) + 1;
    line = smx_alloc(sizeof *line + n);
    if (!line || !make_room(l)) {
        smx_free(line);
        return;
    }
    line->unix_ms = smx_now_unix_ms();
    memcpy(line->text, text, n);
    l->last++;
    smx_free(l->v[l->last % l->room]);
    l->v[l->last % l->room] = line;
    io_event_set(&l->pulse);
    io_event_clear(&l->pulse);
}

static void copy_line(const struct sandbox_log *l, uint64_t *seq, struct sandbox_log_line *ret)
{
    uint64_t oldest = l->last >= l->room ? l->last - l->room + 1 : 1;
    const struct log_line *line;

    *seq = SMX_MAX(*seq + 1, oldest);
    line = l->v[*seq % l->room];
    ret->seq = *seq;
    ret->unix_ms = line->unix_ms;
    smx_strcpy(ret->text, sizeof ret->text, line->text);
}

int sandbox_log_next(struct sandbox *sb, uint64_t *seq, struct sandbox_log_line *ret,
    uint64_t deadline_ns, struct smx_err *err)
{
    struct sandbox_log *l = &sbx_of(sb)->log;
    int r = 0;

    while (l->last <= *seq) {
        if (sb->state == SANDBOX_DELETED)
            return smx_err_set(err, SMX_E_SANDBOX_NOT_FOUND, "sandbox '%s' not found", sb->id);
        if (r == 0 && deadline_ns == 0)
            r = -SMX_E_TIMEOUT;
        if (r < 0)
            return smx_err_set(err, (enum smx_code) - r, "no new line in the log");
        r = io_event_wait(&l->pulse, deadline_ns);
    }
    copy_line(l, seq, ret);
    return 0;
}
