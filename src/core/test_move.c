/* test_move.c - two sandboxes exchange machines: all or nothing, and found again after a restart.
 */
#include "core/internal.h"
#include "core/test_core.h"

#define SANDBOX(sb) SMX_CLEANUP(sandbox_unrefp) struct sandbox *sb = NULL
static const char why[] = "is being moved";

static int make_on(struct fixture *f, const char *runtime, const char *name, struct sandbox **ret)
{
    struct core_create_spec spec = { .runtime = runtime, .name = name };

    return core_create(f->core, &spec, ret, &f->err);
}

static int exchange(struct fixture *f, struct sandbox *a, struct sandbox *b)
{
    int r = sandbox_close_door(a, why, &f->err);

    if (r == 0)
        r = sandbox_close_door(b, why, &f->err);
    if (r == 0)
        r = sandbox_exchange(a, b, &f->err);
    sandbox_open_again(a);
    sandbox_open_again(b);
    return r;
}

FIBER_TEST(machines_are_exchanged_and_ids_stay)
{
    FIXTURE(f);
    SANDBOX(a);
    SANDBOX(b);
    SANDBOX(found);
    char id[2][SMX_ID_LEN + 1], machine[2][PROVIDER_ID_MAX + 1];

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make_on(&f, "local", "one", &a), &f.err);
    ASSERT_OK(make_on(&f, "e2b", NULL, &b), &f.err);
    smx_strcpy(id[0], sizeof id[0], a->id);
    smx_strcpy(id[1], sizeof id[1], b->id);
    smx_strcpy(machine[0], sizeof machine[0], a->provider_id);
    smx_strcpy(machine[1], sizeof machine[1], b->provider_id);
    ASSERT_OK(exchange(&f, a, b), &f.err);
    ASSERT_STR(a->id, id[0]);
    ASSERT_STR(a->runtime, "e2b");
    ASSERT_STR(a->provider_id, machine[1]);
    ASSERT_STR(b->runtime, "local");
    ASSERT_STR(b->provider_id, machine[0]);
    ASSERT_OK(core_find(f.core, "one", &found, &f.err), &f.err);
    ASSERT_TRUE(found == a);
    ASSERT_OK(sandbox_delete(b, &f.err), &f.err);
    ASSERT_EQ(fake_cloud_count(&f.cloud), 0); /* the old machine went with the other one */
    ASSERT_EQ(fake_cloud_count(&f.second), 1);
}

FIBER_TEST(the_exchange_is_found_again_after_a_restart)
{
    FIXTURE(f);
    char id[SMX_ID_LEN + 1], other[SMX_ID_LEN + 1];

    ASSERT_OK(fixture_open(&f), &f.err);
    {
        SANDBOX(a);
        SANDBOX(b);

        ASSERT_OK(make_on(&f, "local", NULL, &a), &f.err);
        ASSERT_OK(make_on(&f, "e2b", NULL, &b), &f.err);
        ASSERT_OK(exchange(&f, a, b), &f.err);
        smx_strcpy(id, sizeof id, a->id);
        smx_strcpy(other, sizeof other, b->id);
    }
    fixture_close(&f);
    ASSERT_OK(fixture_open(&f), &f.err);
    {
        SANDBOX(a);
        SANDBOX(b);
        struct provider_box *box;

        ASSERT_OK(core_find(f.core, id, &a, &f.err), &f.err);
        ASSERT_OK(core_find(f.core, other, &b, &f.err), &f.err);
        ASSERT_STR(a->runtime, "e2b");
        ASSERT_STR(b->runtime, "local");
        ASSERT_OK(sandbox_use_begin(a, &box, &f.err), &f.err);
        sandbox_use_end(a);
        ASSERT_EQ(fake_cloud_count(&f.cloud), 1); /* nothing taken for a stranger */
        ASSERT_EQ(fake_cloud_count(&f.second), 1);
    }
}

FIBER_TEST(a_closed_door_refuses_uses_and_says_why)
{
    FIXTURE(f);
    SANDBOX(a);
    struct provider_box *box;

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make_on(&f, "local", NULL, &a), &f.err);
    ASSERT_OK(sandbox_close_door(a, why, &f.err), &f.err);
    ASSERT_EQ(sandbox_use_begin(a, &box, &f.err), -SMX_E_STATE);
    ASSERT_TRUE(strstr(f.err.msg, why) != NULL);
    ASSERT_EQ(sandbox_close_door(a, why, &f.err), -SMX_E_STATE); /* one at a time */
    ASSERT_OK(sandbox_hold_begin(a, &box, &f.err), &f.err);
    sandbox_hold_end(a);
    sandbox_open_again(a);
    ASSERT_OK(sandbox_use_begin(a, &box, &f.err), &f.err);
    sandbox_use_end(a);
}

FIBER_TEST(what_does_not_run_is_not_exchanged)
{
    FIXTURE(f);
    SANDBOX(a);
    SANDBOX(b);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make_on(&f, "local", NULL, &a), &f.err);
    ASSERT_OK(make_on(&f, "e2b", NULL, &b), &f.err);
    ASSERT_OK(sandbox_pause(a, &f.err), &f.err);
    ASSERT_EQ(sandbox_close_door(a, why, &f.err), -SMX_E_STATE);
    ASSERT_EQ(sandbox_exchange(a, b, &f.err), -SMX_E_STATE);
    ASSERT_STR(a->runtime, "local");
    ASSERT_STR(b->runtime, "e2b");
}

FIBER_TEST(a_failed_write_changes_nothing)
{
    FIXTURE(f);
    SANDBOX(a);
    SANDBOX(b);

    ASSERT_OK(fixture_open(&f), &f.err);
    ASSERT_OK(make_on(&f, "local", NULL, &a), &f.err);
    ASSERT_OK(make_on(&f, "e2b", NULL, &b), &f.err);
    f.second.fault[FAKE_SET_DEADLINE] =
        (struct fake_fault){ .times = 1, .code = SMX_E_UNAVAILABLE };
    ASSERT_TRUE(exchange(&f, a, b) < 0);
    ASSERT_STR(a->runtime, "local");
    ASSERT_STR(b->runtime, "e2b");
    ASSERT_OK(exchange(&f, a, b), &f.err);
    ASSERT_STR(a->runtime, "e2b");
}
