/* mark.c - the end marks of a session's command. A runtime may report the end of a process only
 * when nobody holds its pipes any more, background children included; so the shell says itself that
 * it is done, on both streams, behind the last byte of the command. The id is random: no command
 * prints it by chance. Pure; one struct a stream. */
#include "compose/internal.h"

#define RS '\036'

void mark_init(struct mark *m, const char *id)
{
    *m = (struct mark){ .id = id };
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Whether held is a mark (1), may become one (0) or is none (-1). */
static int judge(struct mark *m)
{
    size_t n_id = strlen(m->id), i = 1, value = 0;

    for (; i < m->n_held && i <= n_id; i++)
        if (m->held[i] != m->id[i - 1])
            return -1;
    if (i == m->n_held)
        return 0;
    if (m->held[i] != ':' && m->held[i] != ';')
        return -1;
    i++;
    for (; i < m->n_held && is_digit(m->held[i]) && i < n_id + 5; i++)
        value = 10 * value + (size_t)(m->held[i] - '0');
    if (i == m->n_held)
        return i == MARK_MAX ? -1 : 0;
    if (m->held[i] != RS || i == n_id + 2)
        return -1;
    m->exit_code = (int)value;
    m->ended = true;
    m->done |= m->held[n_id + 1] == ':';
    return 1;
}

static int give_on(struct mark *m, const char *data, size_t n, mark_give_fn *give, void *arg)
{
    return m->ended || n == 0 ? 0 : give(arg, data, n);
}

static int hold(struct mark *m, char c, mark_give_fn *give, void *arg)
{
    int r, verdict;

    m->held[m->n_held++] = c;
    verdict = judge(m);
    if (verdict == 0)
        return 0;
    if (verdict > 0) {
        m->n_held = 0;
        return 0;
    }
    m->n_held--;
    r = mark_flush(m, give, arg);
    if (r < 0 || c != RS)
        return r < 0 ? r : give_on(m, &c, 1, give, arg);
    m->held[m->n_held++] = c;
    return 0;
}

int mark_feed(struct mark *m, const char *data, size_t n, mark_give_fn *give, void *arg)
{
    int r = 0;

    while (n > 0 && r == 0) {
        const char *rs = m->n_held > 0 ? data : memchr(data, RS, n);
        size_t plain = rs ? (size_t)(rs - data) : n;

        if (plain > 0) {
            r = give_on(m, data, plain, give, arg);
        } else if (m->n_held > 0) {
            r = hold(m, *data, give, arg);
            plain = 1;
        } else {
            m->held[m->n_held++] = *data;
            plain = 1;
        }
        data += plain;
        n -= plain;
    }
    return r;
}

int mark_flush(struct mark *m, mark_give_fn *give, void *arg)
{
    size_t n = m->n_held;

    m->n_held = 0;
    return give_on(m, m->held, n, give, arg);
}
