"""The kinds that reach into the Swarm, into other containers, and out over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dts.domain.validate import check_task
from dts.pb.dts.v1 import (
    ExecKind,
    HttpKind,
    Kind,
    NodeChoice,
    NoopKind,
    Policies,
    Replicas,
    Resources,
    ServiceKind,
    SwarmFile,
    TaskSpec,
    VolumeMount,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def refused(kind: Kind, **policies) -> dict[str, str]:
    """Codes by field."""
    given = TaskSpec(name="a", kind=kind, policies=Policies(**policies))
    return {found.field: found.code for found in check_task(given, now=NOW)[1]}


def service(**fields) -> dict[str, str]:
    return refused(Kind(service=ServiceKind(**fields)))


def exec_(**fields) -> dict[str, str]:
    return refused(Kind(exec=ExecKind(**{"container": "db", "command": ["true"], **fields})))


def http(**fields) -> dict[str, str]:
    return refused(Kind(http=HttpKind(**{"url": "https://example.com/hook", **fields})))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"image": "app:1"}, {}),
        ({"copy_of": "web_app"}, {}),
        ({"copy_of": "web_app", "image": "app:2", "command": ["./migrate", "{{ task }}"]}, {}),
        ({}, {"service.image": "image.missing"}),
        ({"copy_of": "../x"}, {"service.copy_of": "service.name"}),
        ({"image": "no image"}, {"service.image": "image.invalid"}),
        ({"image": "a:1", "secrets": [SwarmFile(name="key", target="app.key")]}, {}),
        ({"image": "a:1", "secrets": [SwarmFile(name="")]}, {"service.secrets[0].name": "files.name"}),
        (
            {"image": "a:1", "secrets": [SwarmFile(name="a", target="x/y")]},
            {"service.secrets[0].target": "files.target"},
        ),
        (
            {"image": "a:1", "configs": [SwarmFile(name="a", target="/etc/../x")]},
            {"service.configs[0].target": "path.invalid"},
        ),
        (
            {"image": "a:1", "configs": [SwarmFile(name="a"), SwarmFile(name="b", target="a")]},
            {"service.configs[1].target": "files.twice"},
        ),
        ({"image": "a:1", "configs": [SwarmFile(name="a")] * 33}, {"service.configs": "files.many"}),
        ({"image": "a:1", "networks": ["web", "host"]}, {"service.networks[1]": "network.denied"}),
        ({"image": "a:1", "networks": [""]}, {"service.networks[0]": "network.invalid"}),
        ({"image": "a:1", "networks": ["n"] * 33}, {"service.networks": "networks.many"}),
        (
            {"image": "a:1", "mounts": [VolumeMount(volume="/etc", target="/x")]},
            {"service.mounts[0].volume": "mounts.volume"},
        ),
        ({"image": "a:1", "user": "a b"}, {"service.user": "user.invalid"}),
        ({"image": "a:1", "stop_signal": "SIGRTMIN+3"}, {}),
    ],
)
def test_services(fields, found):
    assert service(**fields) == found


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, {}),
        ({"container": "", "service": "web_db", "replicas": Replicas.ALL}, {}),
        ({"service": "web_db"}, {"exec": "exec.target"}),
        ({"container": ""}, {"exec": "exec.target"}),
        ({"container": "../db"}, {"exec.container": "exec.target"}),
        ({"container": "", "service": "a b"}, {"exec.service": "exec.target"}),
        ({"replicas": Replicas.ALL}, {"exec.replicas": "exec.replicas"}),
        ({"replicas": 7}, {"exec.replicas": "enum.unknown"}),
        ({"command": []}, {"exec.command": "command.empty"}),
        ({"command": ["", "x"]}, {"exec.command": "command.empty"}),
        ({"command": ["a", "{{ nope }}"]}, {"exec.command[1]": "template.invalid"}),
        ({"env": {"DTS_X": "1"}}, {"exec.env.DTS_X": "env.reserved"}),
        ({"working_dir": "tmp"}, {"exec.working_dir": "path.invalid"}),
        ({"user": "0:0"}, {}),
    ],
)
def test_commands_in_containers(fields, found):
    assert exec_(**fields) == found


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, {}),
        ({"url": "http://10.0.0.1:8080?x={{ scheduled_at | date }}"}, {}),
        ({"url": "http://[::1]:1/"}, {}),
        ({"url": ""}, {"http.url": "http.url"}),
        ({"url": "example.com"}, {"http.url": "http.url"}),
        ({"url": "file:///etc/passwd"}, {"http.url": "http.url"}),
        ({"url": "https://me:pw@example.com/"}, {"http.url": "http.url"}),
        ({"url": "https://{{ param.host }}/"}, {"http.url": "http.url"}),
        ({"url": "https://example.com:0/"}, {"http.url": "http.url"}),
        ({"url": "https://example.com:65536/"}, {"http.url": "http.url"}),
        ({"url": "https://example.com\\@evil/"}, {"http.url": "http.url"}),
        ({"url": "https://example.com/#part"}, {"http.url": "http.url"}),
        ({"url": "https://example.com/{{ nope }}"}, {"http.url": "http.url"}),
        ({"url": "https://example.com/\n"}, {"http.url": "http.url"}),
        ({"url": "https://example.com/" + "x" * 4100}, {"http.url": "http.url"}),
        ({"method": "PUT"}, {}),
        ({"method": "get"}, {"http.method": "http.method"}),
        ({"method": "CONNECT"}, {"http.method": "http.method"}),
        ({"headers": {"X-A": "{{ task }}"}}, {}),
        ({"headers": {"X A": "1"}}, {"http.headers.X A": "http.header"}),
        ({"headers": {"Host": "x"}}, {"http.headers.Host": "http.header"}),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, {"http.headers.X-A": "http.header"}),
        ({"headers": {f"X-{number}": "" for number in range(65)}}, {"http.headers": "http.headers"}),
        ({"headers": {"X-A": "x" * 17000}}, {"http.headers": "http.headers"}),
        ({"body": '{"at": "{{ scheduled_at }}"}\n'}, {}),
        ({"body": "x" * 33_000}, {"http.body": "http.body"}),
        ({"body": "{{ nope }}"}, {"http.body": "http.body"}),
        ({"body": "\0"}, {"http.body": "http.body"}),
        ({"expect": [200, 404]}, {}),
        ({"expect": [99]}, {"http.expect": "http.expect"}),
        ({"expect": [200] * 33}, {"http.expect": "http.expect"}),
    ],
)
def test_requests(fields, found):
    assert http(**fields) == found


@pytest.mark.parametrize(
    "kind", [Kind(http=HttpKind(url="https://example.com/")), Kind(exec=ExecKind(container="db", command=["true"]))]
)
def test_what_reserves_nothing_may_not_say_that_it_does(kind):
    assert refused(kind, resources=Resources(cpus=1)) == {"resources": "resources.kind"}


def test_every_node_has_a_run_or_the_task_chooses_among_them():
    every = {"node": NodeChoice.EVERY}
    assert refused(Kind(noop=NoopKind()), **every) == {}
    assert refused(Kind(service=ServiceKind(image="app:1")), **every) == {"node": "node.service"}
    found = refused(Kind(noop=NoopKind()), prefer=["node.role==worker"], spread=["node.labels.zone"], **every)
    assert found == {"prefer": "prefer.every", "spread": "spread.every"}
    assert refused(Kind(noop=NoopKind()), node=9) == {"node": "enum.unknown"}


def test_what_the_swarm_decides_is_not_for_the_task_to_say():
    found = refused(Kind(service=ServiceKind(image="app:1")), prefer=["node.role==worker"], spread=["node.labels.zone"])
    assert found == {"prefer": "prefer.service", "spread": "spread.service"}
