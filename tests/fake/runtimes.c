/* runtimes.c - stands for the gateway's own: its one runtime is the one in memory, which dies with
 * the gateway. So the suite of all runtimes needs no privilege and no engine. */
#include "gateway/gateway.h"

#include "base/fd.h"
#include "providers/fake/fake.h"

static struct fake_cloud cloud;

void runtimes_fill(struct gateway *g, struct core_config *cc)
{
    fake_cloud_init(&cloud);
    cloud.capabilities = PROVIDER_BIT(PROVIDER_PERSISTENT) | PROVIDER_BIT(PROVIDER_STOP_START) |
                         PROVIDER_BIT(PROVIDER_PAUSE_RESUME) | PROVIDER_BIT(PROVIDER_RESOURCES) |
                         PROVIDER_BIT(PROVIDER_TEMPLATES) | PROVIDER_BIT(PROVIDER_STATS) |
                         PROVIDER_BIT(PROVIDER_PTY);
    cc->runtimes[0] = (struct core_runtime_config){
        .name = "fake", .configured = true, .ops = &fake_provider, .config = &cloud
    };
    cc->n_runtimes = 1;
    cc->runtime_default = "fake";
}

void runtimes_engine(struct gateway *g, int fd)
{
    smx_close(fd);
}
