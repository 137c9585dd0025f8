"""The policy of a node on real containers: each limit bites."""

from __future__ import annotations

import pytest

from dts.domain.node_policy import NodePolicy
from dts.pb.dts.v1 import Reason, VolumeMount
from dts.roles.executor.work import Refused
from support.container_bench import Bench
from support.engine import IMAGE

pytestmark = pytest.mark.docker


def under(bench: Bench, policy: NodePolicy) -> Bench:
    bench.runner._policy = lambda: policy
    return bench


async def test_nothing_that_is_denied_is_created_and_the_node_says_why(bench):
    job = bench.job("true", network="host", mounts=[VolumeMount(volume="dts_postgres", target="/x")])
    with pytest.raises(Refused) as refused:
        await bench.runner.prepare(job)
    assert (refused.value.reason, refused.value.final) == (Reason.POLICY_DENIED, True)
    assert refused.value.message == (
        "the policy of node n1 does not allow the volume dts_postgres (volumes: *, !dts_*); "
        "nor the network of the machine (host_network)"
    )
    assert bench.containers() == {}


async def test_an_image_cannot_be_named_by_its_identifier(bench):
    """Patterns speak of names: by a short identifier any image of the node would pass for one of the Hub's own."""
    image = (await bench.engine.image(IMAGE)).id.removeprefix("sha256:")
    with pytest.raises(Refused, match="the node does not have the image") as refused:
        await bench.runner.prepare(bench.job("true", image=image[:12]))
    assert (refused.value.reason, bench.containers()) == (Reason.IMAGE_PULL, {})
    with pytest.raises(Refused, match="which is the identifier of an image") as refused:
        await bench.runner.prepare(bench.job("true", image=f"sha256:{image}"))
    assert (refused.value.reason, bench.containers()) == (Reason.POLICY_DENIED, {})


async def test_an_opened_network_of_the_machine_is_the_machine_s(bench):
    job = bench.job("cat /proc/sys/kernel/hostname", network="host")
    assert (await under(bench, NodePolicy(host_network=True)).run(job)).exit_code == 0


async def test_a_network_cannot_be_named_by_its_id(bench):
    networks = await bench.engine.call("GET", "networks")
    ids = {one["Name"]: one["Id"] for one in networks}
    with pytest.raises(Refused, match="the network of the machine"):
        await bench.runner.prepare(bench.job("true", network=ids["host"][:12]))
    assert (await bench.run(bench.job("true", network=ids["none"]))).exit_code == 0


async def test_a_network_that_is_not_there_is_said_to_be_so(bench):
    with pytest.raises(Refused, match="there is no network nowhere on the node") as refused:
        await bench.runner.prepare(bench.job("true", network="nowhere"))
    assert (refused.value.reason, refused.value.final) == (Reason.ENGINE_ERROR, False)


async def test_processes_are_counted(bench):
    script = "for n in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait"
    ended = await under(bench, NodePolicy(pids=6)).run(bench.job(script))
    assert ended.exit_code != 0
    assert "fork" in bench.printed.err


async def test_who_says_nothing_of_memory_gets_the_most_and_no_more(bench):
    script = "exec dd if=/dev/zero of=/dev/null bs=64M count=8"
    assert (await under(bench, NodePolicy(memory=16 << 20)).run(bench.job(script))).oom_killed


async def test_nobody_gains_rights_by_a_program(bench):
    await bench.run(bench.job("grep NoNewPrivs /proc/self/status"))
    assert bench.printed.out.split() == ["NoNewPrivs:", "1"]
