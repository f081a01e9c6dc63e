/* random.c - see random.h. */
#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void smx_random(void *data, size_t n)
{
    unsigned char *p = data;

    while (n > 0) {
        ssize_t r = getrandom(p, n, 0);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            abort(); /* the kernel has had getrandom since 3.17 */
        p += r;
        n -= (size_t)r;
    }
}

uint64_t smx_random_u64(void)
{
    uint64_t v;

    smx_random(&v, sizeof v);
    return v;
}

void smx_id_make(char out[SMX_ID_LEN + 1])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t i = 1;

    out[0] = 'i';
    while (i < SMX_ID_LEN) {
        unsigned char bytes[32];

        smx_random(bytes, sizeof bytes);
        for (size_t k = 0; k < sizeof bytes && i < SMX_ID_LEN; k++)
            if (bytes[k] < 252) /* 7 * 36: no digit is more likely than another */
                out[i++] = digits[bytes[k] % 36];
    }
    out[SMX_ID_LEN] = '\0';
}

int smx_id_valid(const char *s)
{
    return strlen(s) == SMX_ID_LEN && s[0] == 'i' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789") == SMX_ID_LEN;
}
