"""Probes against shaped addresses of this machine, and what the router makes of them."""

import asyncio

import pytest
from aiohttp import web

from cdn_router.probes import probe_all
from cdn_router.router import Limits
from core.model import Pathway
from core.state.memory import MemoryState
from origin.demo.pathway_shaper import PathwayShaper, Shape

NEAR, FAR = Shape(latency_ms=5), Shape(latency_ms=60)


@pytest.fixture
async def health():
    """A server whose `/healthz` answers as the test says."""
    told = {"status": 200}

    async def healthz(_):
        return web.Response(status=told["status"])

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    told["address"] = runner.addresses[0]
    yield told
    await runner.cleanup()


@pytest.fixture
async def shapers(health, shared_port):
    """Two pathways with one port: `one` near, `two` far."""
    pair = {
        "one": PathwayShaper(("127.0.0.1", shared_port), health["address"], NEAR),
        "two": PathwayShaper(("127.0.0.2", shared_port), health["address"], FAR),
    }
    for shaper in pair.values():
        await shaper.start()
    yield pair
    for shaper in pair.values():
        await shaper.stop()


@pytest.fixture
def pathways(shared_port):
    return (
        Pathway("two", f"http://127.0.0.2:{shared_port}"),
        Pathway("one", f"http://127.0.0.1:{shared_port}"),
    )


async def _by_id(pathways):
    return {o.pathway: o for o in await probe_all(pathways, "ww", now_s=1)}


@pytest.mark.usefixtures("shapers")
async def test_a_probe_measures_the_first_byte(pathways):
    seen = await _by_id(pathways)

    assert seen["two"].first_byte_ms >= 120
    assert 10 <= seen["one"].first_byte_ms < seen["two"].first_byte_ms
    assert all(0 < o.rtt_ms < 120 for o in seen.values())


@pytest.mark.usefixtures("shapers")
@pytest.mark.parametrize("status, failed", [(200, False), (404, False), (500, True), (503, True)])
async def test_what_a_probe_takes_for_a_failure(health, pathways, status, failed):
    dead = Pathway("dead", pathways[0].base_url.replace("127.0.0.2", "127.0.0.3"))
    alive = await _by_id(pathways)
    assert not any(o.failed for o in alive.values())
    health["status"] = status
    seen = await _by_id((*pathways, dead))

    # when every pathway fails, nothing is known of any
    assert seen == {} if failed else (seen["dead"].failed and not seen["one"].failed)


async def test_a_failing_pathway_is_seen_as_failing(shapers, pathways):
    shapers["one"].shape = Shape(failing=True)
    seen = await _by_id(pathways)

    assert seen["one"].failed
    assert not seen["two"].failed


@pytest.mark.usefixtures("shapers")
async def test_names_that_do_not_resolve_and_closed_ports_are_failures(pathways):
    port = pathways[0].base_url.rsplit(":", 1)[1]
    closed = Pathway("closed", f"http://127.0.0.9:{port}")
    nowhere = Pathway("nowhere", f"http://no-such-host.invalid:{port}")
    seen = await _by_id((*pathways, closed, nowhere))

    assert seen["closed"].failed
    assert seen["nowhere"].failed
    assert seen["closed"].rtt_ms is None


async def test_the_router_finds_the_near_one_and_leaves_it_when_it_degrades(
    run_router, shapers, pathways, until
):
    service = await run_router(pathways=pathways, limits=Limits(probe_interval_s=0.1, epoch_s=0.1))

    def leader():
        return service.router.order("a-session", "ww")[0].id

    await until(lambda: leader() == "one")
    shapers["one"].shape = Shape(latency_ms=400)
    await until(lambda: leader() == "two")
    assert (await service.steer(service.token()))["TTL"] <= 24


@pytest.mark.usefixtures("shapers")
async def test_the_first_measurements_decide_at_once(run_router, pathways, until):
    service = await run_router(pathways=pathways, limits=Limits(epoch_s=60))
    await until(lambda: service.router.order("s", "ww")[0].id == "one", seconds=2)


async def test_the_router_leaves_a_pathway_that_fails(run_router, shapers, pathways, until):
    service = await run_router(pathways=pathways, limits=Limits(probe_interval_s=0.1, epoch_s=0.1))
    await until(lambda: service.router.order("s", "ww")[0].id == "one")
    await asyncio.sleep(0.5)
    shapers["one"].shape = Shape(failing=True)
    await until(lambda: service.router.order("s", "ww")[0].id == "two", seconds=3)

    told = await (await service.get("/v1/router/explain")).json()

    assert "one fails" in told["regions"][0]["lastChange"]["cause"]


@pytest.mark.usefixtures("shapers")
async def test_one_process_of_a_region_probes_for_all(run_router, pathways):
    state = MemoryState()
    limits = Limits(probe_interval_s=0.2, epoch_s=0.1)
    began_s = asyncio.get_running_loop().time()
    services = [await run_router(pathways=pathways, limits=limits, state=state) for _ in range(3)]
    async with asyncio.timeout(20):
        probes = 0.0
        while probes < 6:
            await asyncio.sleep(0.1)
            probes = await _probes_of_one(services)
    elapsed_s = asyncio.get_running_loop().time() - began_s

    # a turn lasts nine tenths of the interval; each for itself would be three times as many
    assert probes <= 1 + elapsed_s / (0.9 * limits.probe_interval_s)
    for service in services:
        assert service.router.order("s", "ww")[0].id == "one"


async def _probes_of_one(services):
    """Probes of the pathway `one`, as all of them count them."""
    probes = 0.0
    for service in services:
        text = await (await service.get("/metrics")).text()
        probes += sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith('router_probes_total{pathway="one"')
        )
    return probes
