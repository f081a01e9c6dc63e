/* test_core.h - a core on a state directory of its own, over runtimes in memory. */
#ifndef SMX_CORE_TEST_CORE_H
#define SMX_CORE_TEST_CORE_H

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/core.h"
#include "io/test_util.h"
#include "providers/fake/fake.h"

struct fixture {
    char dir[64];
    struct fake_cloud cloud, second;
    struct fake_cloud *other; /* instead of cloud, of another fixture; NULL */
    const char *setting;
    uint64_t max_lifetime_s, default_lifetime_s;
    struct core *core;
    struct smx_err err;
};

static inline void fixture_init(struct fixture *f)
{
    *f = (struct fixture){ .dir = "/tmp/smx-test-core-XXXXXX" };
    fake_cloud_init(&f->cloud);
    fake_cloud_init(&f->second);
    if (!mkdtemp(f->dir))
        smx_test_fail(__FILE__, __LINE__, "mkdtemp");
}

static inline int fixture_open(struct fixture *f)
{
    static char key[] = "e2b_template", value[] = "base";
    static const struct json_pair info[] = { { key, value } };
    struct core_config cfg = { .loop = io_loop_self(),
        .state_dir = f->dir,
        .runtimes = { { .name = "daytona", .missing = { "DAYTONA_API_KEY" } },
            { .name = "e2b",
                .ops = &fake_provider,
                .config = &f->second,
                .configured = true,
                .info = info,
                .n_info = 1 },
            { .name = "local",
                .ops = &fake_provider,
                .config = f->other ? f->other : &f->cloud,
                .configured = true } },
        .n_runtimes = 3,
        .runtime_setting = f->setting,
        .runtime_default = "local",
        .max_lifetime_s = f->max_lifetime_s,
        .default_lifetime_s = f->default_lifetime_s };

    return core_open(&cfg, &f->core, &f->err);
}

static inline void fixture_close(struct fixture *f)
{
    core_close(smx_take(&f->core));
}

static inline void fixture_done(struct fixture *f)
{
    char path[128];
    static const char *const names[] = { "/gateway.db", "/gateway.db-wal", "/gateway.db-shm",
        "/lock", "" };

    fixture_close(f);
    fake_cloud_done(&f->cloud);
    fake_cloud_done(&f->second);
    for (size_t i = 0; i < SMX_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s%s", f->dir, names[i]);
        remove(path);
    }
}
#define FIXTURE(f)                                      \
    SMX_CLEANUP(fixture_done) struct fixture f = { 0 }; \
    fixture_init(&f)

static inline int make(struct fixture *f, const char *name, struct sandbox **ret)
{
    struct core_create_spec spec = { .name = name };

    return core_create(f->core, &spec, ret, &f->err);
}

#endif
