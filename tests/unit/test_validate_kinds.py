from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dts.domain.validate import check_task
from dts.pb.dts.v1 import (
    Backoff,
    Catchup,
    ContainerKind,
    Kind,
    NodeLoss,
    NoopKind,
    Overlap,
    Policies,
    ProcessKind,
    Resources,
    TaskSpec,
    VolumeMount,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)


def check(kind: Kind | None = None, **policies) -> tuple[dict[str, str], dict[str, str]]:
    """Refusals and warnings: codes by field."""
    given = TaskSpec(name="a", kind=Kind(noop=NoopKind()) if kind is None else kind, policies=Policies(**policies))
    _, violations, warnings = check_task(given, now=NOW)
    return {found.field: found.code for found in violations}, {found.field: found.code for found in warnings}


def container(**fields) -> dict[str, str]:
    return check(Kind(container=ContainerKind(**{"image": "app:1", **fields})))[0]


def process(**fields) -> dict[str, str]:
    return check(Kind(process=ProcessKind(**{"command": ["true"], **fields})))[0]


def test_a_task_has_exactly_one_kind():
    assert check(Kind())[0] == {"kind": "kind.missing"}
    assert check(Kind(noop=NoopKind()))[0] == {}
    assert check(Kind(noop=NoopKind(), process=ProcessKind(command=["true"])))[0] == {"kind": "kind.many"}
    _, violations, _ = check_task(TaskSpec(name="a"), now=NOW)
    assert [found.field for found in violations] == ["kind"]


def test_an_image_without_a_version_is_allowed_with_a_warning():
    for image, warnings in {
        "app": {"container.image": "image.unpinned"},
        "app:latest": {"container.image": "image.unpinned"},
        "app:1": {},
        "app@sha256:" + "0" * 64: {},
        "app:latest@sha256:" + "0" * 64: {},
    }.items():
        assert check(Kind(container=ContainerKind(image=image))) == ({}, warnings)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"image": ""}, {"container.image": "image.invalid"}),
        ({"image": "http://x/y"}, {"container.image": "image.invalid"}),
        ({"command": ["sh", "-c", "echo {{ scheduled_at | date }}\n\ttrue"]}, {}),
        ({"command": ["", "a"]}, {}),
        ({"command": ["a", "{{ nope }}"]}, {"container.command[1]": "template.invalid"}),
        ({"command": ["x"] * 1000}, {}),
        ({"command": ["x"] * 1001}, {"container.command": "command.long"}),
        ({"entrypoint": ["docker", "ps", "--format", "{{.Names}}"]}, {}),
        ({"entrypoint": ["a\0"]}, {"container.entrypoint[0]": "text.characters"}),
        ({"env": {"A": "{{ task }}", "_b1": "two\nlines"}}, {}),
        ({"env": {"A": "{{ x"}}, {"container.env.A": "template.invalid"}),
        ({"env": {"": "x"}}, {"container.env": "env.name"}),
        ({"env": {"A=B": "x"}}, {"container.env.A=B": "env.name"}),
        ({"env": {"1A": "x"}}, {"container.env.1A": "env.name"}),
        ({"env": {"A\n": "x"}}, {"container.env": "env.name"}),
        ({"env": {"Ä": "x"}}, {"container.env.Ä": "env.name"}),
        ({"env": {"A\0": "x"}}, {"container.env": "env.name"}),
        ({"env": {"A" * 255: "x"}}, {}),
        ({"env": {"A" * 256: "x"}}, {"container.env": "env.name"}),
        ({"env": {"DTS_RUN_ID": "x"}}, {"container.env.DTS_RUN_ID": "env.reserved"}),
        ({"env": {f"A{n}": "" for n in range(128)}}, {}),
        ({"env": {f"A{n}": "" for n in range(129)}}, {"container.env": "env.many"}),
        ({"working_dir": "/srv/app"}, {}),
        ({"working_dir": "srv"}, {"container.working_dir": "path.invalid"}),
        ({"working_dir": "/srv/../etc"}, {"container.working_dir": "path.invalid"}),
        ({"working_dir": "/a\nb"}, {"container.working_dir": "text.characters"}),
        ({"working_dir": "/" + "a" * 4095}, {}),
        ({"working_dir": "/" + "a" * 4096}, {"container.working_dir": "path.invalid"}),
        ({"user": "1000"}, {}),
        ({"user": "app:0"}, {}),
        ({"user": "App.User-1:www_data"}, {}),
        ({"user": "2147483647"}, {}),
        ({"user": "2147483648"}, {"container.user": "user.invalid"}),
        ({"user": "99999999999"}, {"container.user": "user.invalid"}),
        ({"user": "app:4294967296"}, {"container.user": "user.invalid"}),
        ({"user": "a:b:c"}, {"container.user": "user.invalid"}),
        ({"user": ":app"}, {"container.user": "user.invalid"}),
        ({"user": "a b"}, {"container.user": "user.invalid"}),
        ({"user": "a\n"}, {"container.user": "user.invalid"}),
        ({"pull": 9}, {"container.pull": "enum.unknown"}),
        ({"network": "backend"}, {}),
        ({"network": "none"}, {}),
        ({"network": "host"}, {"container.network": "network.denied"}),
        ({"network": "container:abc"}, {"container.network": "network.denied"}),
        ({"network": "a/b"}, {"container.network": "network.invalid"}),
        ({"network": "-a"}, {"container.network": "network.invalid"}),
        ({"stop_signal": "SIGINT"}, {}),
        ({"stop_signal": "quit"}, {}),
        ({"stop_signal": "SIGRTMIN+3"}, {}),
        ({"stop_signal": "SIGRTMIN+31"}, {"container.stop_signal": "signal.unknown"}),
        ({"stop_signal": "15"}, {"container.stop_signal": "signal.unknown"}),
        ({"stop_signal": "SIGTERM; reboot"}, {"container.stop_signal": "signal.unknown"}),
        ({"stop_signal": "SIGTERM\n"}, {"container.stop_signal": "signal.unknown"}),
    ],
)
def test_containers(fields, found):
    assert container(**fields) == found


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        ([("data", "/data")], {}),
        ([("data", "/data"), ("data", "/other")], {}),
        ([("data", "/data"), ("more", "//data/./")], {"container.mounts[1].target": "mounts.twice"}),
        ([("", "/data")], {"container.mounts[0].volume": "mounts.volume"}),
        ([("/var/run/docker.sock", "/s")], {"container.mounts[0].volume": "mounts.volume"}),
        ([("../x", "/s")], {"container.mounts[0].volume": "mounts.volume"}),
        ([("a:b", "/s")], {"container.mounts[0].volume": "mounts.volume"}),
        ([("data", "")], {"container.mounts[0].target": "mounts.target"}),
        ([("data", "/")], {"container.mounts[0].target": "mounts.target"}),
        ([("data", "//./")], {"container.mounts[0].target": "mounts.target"}),
        ([("data", "data")], {"container.mounts[0].target": "path.invalid"}),
        ([("data", "/a/../..")], {"container.mounts[0].target": "path.invalid"}),
        ([("data", f"/{n}") for n in range(32)], {}),
        ([("data", f"/{n}") for n in range(33)], {"container.mounts": "mounts.many"}),
    ],
)
def test_only_named_volumes_are_mounted_each_at_a_place_of_its_own(mounts, found):
    assert container(mounts=[VolumeMount(volume=volume, target=target) for volume, target in mounts]) == found


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"command": ["sh", "-c", "exit 1"]}, {}),
        ({"command": []}, {"process.command": "command.empty"}),
        ({"command": [""]}, {"process.command": "command.empty"}),
        ({"command": ["true", ""]}, {}),
        ({"command": ["a\0b"]}, {"process.command[0]": "text.characters"}),
        ({"command": ["{{ param.PROGRAM }}"]}, {}),
        ({"command": ["a", "{{ attempts }}"]}, {"process.command[1]": "template.invalid"}),
        ({"command": ["docker", "ps", "--format", "{{.Names}}"]}, {"process.command[3]": "template.invalid"}),
        ({"env": {"DTS_TASK": ""}}, {"process.env.DTS_TASK": "env.reserved"}),
        ({"env": {"A": "\0"}}, {"process.env.A": "text.characters"}),
        ({"working_dir": "."}, {"process.working_dir": "path.invalid"}),
        ({"stop_signal": "INT"}, {}),
        ({"stop_signal": "SIGRTMIN+3"}, {"process.stop_signal": "signal.unknown"}),
    ],
)
def test_processes(fields, found):
    assert process(**fields) == found


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("max_parallel", [1, 1000], [-1, 0, 1001, 1 << 40]),
        ("queue_limit", [1, 100_000], [0, 100_001]),
        ("catchup_max", [1, 100_000], [0, 100_001]),
        ("retries", [0, 100], [-1, 101]),
        ("timeout", [SECOND, 30 * DAY], [timedelta(0), -SECOND, 30 * DAY + SECOND, timedelta.max]),
        ("start_deadline", [SECOND, 7 * DAY], [timedelta(0), 7 * DAY + SECOND]),
        ("stop_grace", [timedelta(0), HOUR], [-SECOND, HOUR + SECOND]),
        ("node_loss_wait", [timedelta(0), 7 * DAY], [-SECOND, 7 * DAY + SECOND]),
        ("catchup_window", [SECOND, 3650 * DAY], [timedelta(0), 3650 * DAY + SECOND]),
        ("overlap", list(Overlap), [-1, 7, 99]),
        ("on_node_loss", list(NodeLoss), [-1, 4]),
        ("catchup", [Catchup.UNSPECIFIED, Catchup.LATEST, Catchup.NONE], [4]),
    ],
)
def test_every_policy_has_a_range(name, allowed, refused):
    for value in allowed:
        assert check(**{name: value})[0] == {}, value
    for value in refused:
        assert list(check(**{name: value})[0]) == [name], value


@pytest.mark.parametrize(
    ("policies", "found"),
    [
        ({"group": "db"}, {}),
        ({"group": "db", "group_limit": 1}, {}),
        ({"group": "db", "group_limit": 1000}, {}),
        ({"group": "db", "group_limit": 0}, {"group_limit": "policy.range"}),
        ({"group": "db", "group_limit": 1001}, {"group_limit": "policy.range"}),
        ({"group_limit": 2}, {"group_limit": "group.missing"}),
        ({"group": "Data Base"}, {"group": "group.invalid"}),
        ({"group": "g" * 64}, {"group": "group.invalid"}),
        ({"catchup": Catchup.ALL}, {"catchup_window": "catchup.window"}),
        ({"catchup": Catchup.ALL, "catchup_window": HOUR}, {}),
        ({"backoff": Backoff(initial=SECOND, factor=1.0, max=MINUTE)}, {}),
        ({"backoff": Backoff(factor=10.0)}, {}),
        ({"backoff": Backoff(factor=0.99)}, {"backoff.factor": "policy.range"}),
        ({"backoff": Backoff(factor=10.01)}, {"backoff.factor": "policy.range"}),
        ({"backoff": Backoff(factor=float("nan"))}, {"backoff.factor": "policy.range"}),
        ({"backoff": Backoff(factor=float("inf"))}, {"backoff.factor": "policy.range"}),
        ({"backoff": Backoff(initial=timedelta(0))}, {"backoff.initial": "policy.range"}),
        ({"backoff": Backoff(initial=DAY + SECOND)}, {"backoff.initial": "policy.range"}),
        ({"backoff": Backoff(max=timedelta(0))}, {"backoff.max": "policy.range"}),
        ({"backoff": Backoff(initial=MINUTE, max=SECOND)}, {"backoff.max": "policy.range"}),
        ({"retry_exit_codes": [0, 255]}, {}),
        ({"retry_exit_codes": [-1]}, {"retry_exit_codes": "policy.range"}),
        ({"retry_exit_codes": [256]}, {"retry_exit_codes": "policy.range"}),
        ({"retry_exit_codes": [1] * 65}, {"retry_exit_codes": "policy.range"}),
        ({"constraints": ["node.labels.disk==ssd", "node.role != manager"]}, {}),
        ({"constraints": ["node.labels.a==b", "disk=ssd"]}, {"constraints[1]": "constraints.invalid"}),
        ({"constraints": ["node.labels.a==b"] * 33}, {"constraints": "constraints.many"}),
        ({"prefer": ["node.labels.disk==ssd", "5*node.role==worker"]}, {}),
        ({"prefer": ["node.labels.disk==ssd", "0*node.role==worker"]}, {"prefer[1]": "prefer.invalid"}),
        ({"prefer": ["node.labels.a==b"] * 33}, {"prefer": "prefer.many"}),
        ({"spread": ["node.labels.zone", "engine.labels.rack"]}, {}),
        ({"spread": ["zone"]}, {"spread[0]": "spread.invalid"}),
        ({"spread": ["node.labels.a"] * 5}, {"spread": "spread.many"}),
        ({"resources": Resources(cpus=0.5, memory=1 << 30)}, {}),
        ({"resources": Resources(cpus=1024.0, memory=1 << 44)}, {}),
        ({"resources": Resources(memory=6 << 20)}, {}),
        ({"resources": Resources(memory=(6 << 20) - 1)}, {"resources.memory": "resources.range"}),
        ({"resources": Resources(memory=-1)}, {"resources.memory": "resources.range"}),
        ({"resources": Resources(memory=(1 << 44) + 1)}, {"resources.memory": "resources.range"}),
        ({"resources": Resources(cpus=-0.1)}, {"resources.cpus": "resources.range"}),
        ({"resources": Resources(cpus=1e9)}, {"resources.cpus": "resources.range"}),
        ({"resources": Resources(cpus=float("nan"))}, {"resources.cpus": "resources.range"}),
        ({"resources": Resources(cpus=float("inf"))}, {"resources.cpus": "resources.range"}),
    ],
)
def test_policies_in_detail(policies, found):
    assert check(**policies)[0] == found


@pytest.mark.parametrize(
    ("useless", "useful"),
    [
        ({"queue_limit": 5}, {"overlap": Overlap.QUEUE_ALL}),
        ({"catchup_max": 5}, {"catchup": Catchup.ALL, "catchup_window": HOUR}),
        ({"node_loss_wait": MINUTE, "on_node_loss": NodeLoss.FAIL}, {"on_node_loss": NodeLoss.WAIT}),
        ({"backoff": Backoff(initial=SECOND)}, {"retries": 1}),
        ({"retry_exit_codes": [1]}, {"retries": 1}),
        ({"catchup_window": HOUR, "catchup": Catchup.NONE}, {"catchup": Catchup.LATEST}),
    ],
)
def test_a_policy_without_effect_is_allowed_with_a_warning(useless, useful):
    assert check(**useless) == ({}, {next(iter(useless)): "policy.unused"})
    assert check(**{**useless, **useful}) == ({}, {})
