/* test_provider.c - the dispatcher: versions, empty slots, names. */
#include "io/test_util.h"
#include "providers/provider.h"

static int plain_open(struct io_loop *loop, const void *config, const struct provider_host *host,
    void **ret_impl, struct smx_err *err)
{
    *ret_impl = NULL;
    return 0;
}

static void plain_close(void *impl)
{
}

static const struct provider_ops plain = {
    .version = PROVIDER_VERSION, .name = "plain", .open = plain_open, .close = plain_close
};
static const struct provider_ops newer = {
    .version = PROVIDER_VERSION + 1, .name = "newer", .open = plain_open, .close = plain_close
};

FIBER_TEST(another_version_is_not_opened)
{
    const struct provider_host host = { 0 };
    struct provider *p = NULL;
    struct smx_err err;

    ASSERT_EQ(provider_open(&newer, io_loop_self(), NULL, &host, &p, &err), -SMX_E_INVALID);
    ASSERT_TRUE(p == NULL && strstr(err.msg, "newer") != NULL);
}

FIBER_TEST(an_empty_slot_is_unsupported)
{
    const struct provider_host host = { 0 };
    SMX_CLEANUP(provider_closep) struct provider *p = NULL;
    struct provider_handle handle = { &plain };
    struct provider_box *box = (struct provider_box *)(void *)&handle;
    struct provider_check check;
    struct provider_template *templates = NULL;
    struct provider_file file;
    struct smx_err err;
    size_t n = 0;
    struct http_client to;

    ASSERT_OK(provider_open(&plain, io_loop_self(), NULL, &host, &p, &err), &err);
    ASSERT_EQ(provider_validate(p, &check, 0, &err), -SMX_E_UNSUPPORTED);
    ASSERT_EQ(provider_templates(p, &templates, &n, 0, &err), -SMX_E_UNSUPPORTED);
    ASSERT_EQ(provider_pause(box, 0, &err), -SMX_E_UNSUPPORTED);
    ASSERT_STR(err.msg, "runtime 'plain' cannot pause a sandbox");
    ASSERT_EQ(provider_stat(box, "/", NULL, &file, 0, &err), -SMX_E_UNSUPPORTED);
    ASSERT_EQ(provider_dial(box, 80, &to, 0, &err), -SMX_E_UNSUPPORTED);
    ASSERT_EQ(provider_capabilities(p), 0);
    ASSERT_FALSE(provider_shed(p));
}

FIBER_TEST(handles_may_be_null_where_they_are_given_back)
{
    provider_close(NULL);
    provider_detach(NULL);
    provider_stream_close(NULL);
    provider_read_close(NULL);
    provider_write_abort(NULL);
}

FIBER_TEST(capabilities_have_names)
{
    for (unsigned i = 0; i < PROVIDER_CAP_COUNT_; i++) {
        ASSERT_TRUE(provider_cap_name(i)[0] != '\0');
        for (unsigned k = 0; k < i; k++)
            ASSERT_FALSE(smx_streq(provider_cap_name(i), provider_cap_name(k)));
    }
    ASSERT_STR(provider_cap_name(PROVIDER_PAUSE_RESUME), "pause_resume");
}
