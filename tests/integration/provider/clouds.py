"""A sandmux that plays E2B for another one, which reaches it by URL settings alone."""
import pytest

from conftest import Daemon, until
from faultproxy import FaultProxy

KEY = "e2b_" + "5ec2e7" * 6 + "abcd"


def e2b_env(url, sandbox_url=None, **more):
    return {"E2B_API_KEY": KEY, "E2B_API_URL": url, "E2B_SANDBOX_URL": sandbox_url or url, "SANDBOX_RUNTIME": "e2b", **more}


@pytest.fixture(scope="module")
def cloud():
    with Daemon() as d:
        yield d


@pytest.fixture(scope="module")
def client(cloud):
    """Has its sandboxes at the cloud."""
    with Daemon(env=e2b_env(cloud.url)) as d:
        yield d


@pytest.fixture(scope="module")
def proxy(cloud):
    p = FaultProxy(cloud.port)
    yield p
    p.close()


@pytest.fixture(scope="module")
def behind(cloud, proxy):
    """Has its control plane behind the proxy."""
    d = Daemon(env=e2b_env(proxy.url, cloud.url))
    d.start()
    yield d
    proxy.heal()
    d.close()


@pytest.fixture
def healed(proxy, cloud, behind):
    """Leaves the proxy well and both sides empty."""
    yield
    proxy.heal()
    behind.delete_all()
    until(lambda: cloud_ids(cloud) == [], 30, "sandboxes are left at the cloud")


def cloud_ids(cloud):
    return [item["id"] for item in cloud.get("/api/sandboxes?limit=1000").json()["items"]]


def ids_here(daemon):
    """As the runtime knows them."""
    return [item["provider_id"] for item in daemon.get("/api/sandboxes?limit=1000").json()["items"]]
