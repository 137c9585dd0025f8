"""The file with a node's policy."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from dts.domain.errors import InvalidArgument
from dts.domain.node_policy import Bind, NodePolicy
from dts.roles.executor.policy_file import PolicyFile, read_policy

WHOLE = """
images: ["registry.example/*", "!registry.example/secret/*"]
volumes: []
networks: [web]
secrets: ["*"]
configs: ["*"]
copies: [web_*]
binds: ["/srv/data:ro", "/scratch:rw", /opt]
capabilities: [CAP_NET_ADMIN]
host_network: true
root: false
execs: [web_*]
hosts: ["*.example.com"]
private_addresses: [10.0.0.0/8, "::1"]
pids: 100
cpus: 1.5
memory: 512m
"""


def file(tmp_path, text):
    path = tmp_path / "policy.yml"
    path.write_text(text)
    return path


def test_every_key_is_read(tmp_path):
    assert read_policy(file(tmp_path, WHOLE)) == NodePolicy(
        images=("registry.example/*", "!registry.example/secret/*"),
        volumes=(),
        networks=("web",),
        secrets=("*",),
        configs=("*",),
        copies=("web_*",),
        binds=(Bind("/srv/data"), Bind("/scratch", write=True), Bind("/opt")),
        capabilities=("CAP_NET_ADMIN",),
        host_network=True,
        root=False,
        execs=("web_*",),
        hosts=("*.example.com",),
        private_addresses=(ip_network("10.0.0.0/8"), ip_network("::1")),
        pids=100,
        cpus=1.5,
        memory=512 << 20,
    )


def test_what_is_not_said_is_the_default(tmp_path):
    assert read_policy(file(tmp_path, "")) == NodePolicy()
    assert read_policy(file(tmp_path, "pids: 7")) == NodePolicy(pids=7)


@pytest.mark.parametrize(
    ("text", "field", "why"),
    [
        ("private_addresses: [10.0.0.1/8]", ": private_addresses", "networks such as"),
        ("private_addresses: [all]", ": private_addresses", "networks such as"),
        ("image: [a]", ": image", "did you mean images?"),
        ("zzz: 1", ": zzz", "there are images"),
        ("1: 1", ": 1", "is no key"),
        ("images: alpine", ": images", "list of patterns"),
        ("images: [1]", ": images", "list of patterns"),
        ("images: ['!']", ": images", "list of patterns"),
        ("binds: [srv]", ": binds", "absolute paths"),
        ("binds: ['/srv/../etc']", ": binds", "absolute paths"),
        ("binds: ['/srv:rx']", ": binds", "absolute paths"),
        ("host_network: 'yes'", ": host_network", "true or false"),
        ("pids: 0", ": pids", "whole number"),
        ("pids: true", ": pids", "whole number"),
        ("cpus: 0", ": cpus", "number of processors"),
        ("memory: 5m", ": memory", "at least 6 MiB"),
        ("memory: much", ": memory", "at least 6 MiB"),
        ("- images", "policy.yml", "is a mapping"),
        ("{", "policy.yml", "is no YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, field, why):
    with pytest.raises(InvalidArgument) as refused:
        read_policy(file(tmp_path, text))
    (violation,) = refused.value.violations
    assert violation.field.endswith(field)
    assert why in violation.message


def test_every_mistake_is_named_at_once(tmp_path):
    with pytest.raises(InvalidArgument) as refused:
        read_policy(file(tmp_path, "pids: 0\ncpus: 0\nzzz: 1"))
    assert len(refused.value.violations) == 3


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match=r"DTS_POLICY_FILE: names a file that cannot be read, .*: No such file"):
        PolicyFile(tmp_path / "nowhere")


def test_without_a_file_nothing_is_opened():
    assert PolicyFile(None).current() == NodePolicy()


def test_a_changed_file_counts_at_once_and_a_broken_one_not(tmp_path, caplog):
    path = file(tmp_path, "pids: 7")
    policy = PolicyFile(path)
    assert policy.current().pids == 7
    path.write_text("pids: 70")
    assert policy.current().pids == 70
    path.write_text("pids: many")
    assert policy.current().pids == 70
    assert "the policy read before stays in force" in caplog.text
    path.unlink()
    assert policy.current().pids == 70
