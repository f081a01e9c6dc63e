/* error.c - sandmux/error.h: every code with its name, and what to do about one that happens. */
#include <stdio.h>

#include "sandmux/sandbox.h"

int main(void)
{
    struct smx_client *client;
    struct smx_sandbox *sandbox;
    struct smx_err err;
    int r;

    for (int code = SMX_OK + 1; code < SMX_E_COUNT_; code++)
        printf("%-24s %s\n", smx_code_name((enum smx_code)code),
            smx_code_retryable((enum smx_code)code) ? "may be repeated" : "");
    if (smx_client_open(/* config= */ NULL, &client, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    r = smx_sandbox_get(client, "no-such-sandbox", &sandbox, &err);
    smx_client_close(client);
    if (r != -SMX_E_SANDBOX_NOT_FOUND)
        return 1;
    printf("%s: %s\n%s\n", smx_code_title(err.code), err.msg, smx_code_hint(err.code));
    return 0;
}
