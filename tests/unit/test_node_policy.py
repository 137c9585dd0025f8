"""What a node lets containers and services do."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from dts.domain.node_policy import (
    Bind,
    NodePolicy,
    allowed_address,
    allows,
    container_denials,
    exec_denials,
    http_denials,
    service_denials,
)
from dts.pb.dts.v1 import ContainerKind, Resources, VolumeMount

GIB = 1 << 30
DEFAULT = NodePolicy()


def denials(policy: NodePolicy = DEFAULT, *, cpus: float = 0, memory: int = 0, **kind) -> list[str]:
    mounts = [VolumeMount(volume=name, target="/x") for name in kind.pop("volumes", ())]
    wanted = ContainerKind(image=kind.pop("image", "alpine"), mounts=mounts, **kind)
    return container_denials(policy, wanted, Resources(cpus=cpus, memory=memory))


def of_service(policy: NodePolicy = DEFAULT, *, copied: str = "", networks=(), template=None, **container) -> list[str]:
    spec = {"TaskTemplate": {**(template or {}), "ContainerSpec": {"Image": "alpine", **container}}}
    return service_denials(policy, spec, Resources(), networks=networks, copied=copied)


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        ((), "x", False),
        (("*",), "x", True),
        (("a*",), "x", False),
        (("*", "!dts_*"), "dts_x", False),
        (("*", "!dts_*"), "data", True),
        (("*", "!dts_*", "dts_shared"), "dts_shared", True),
        (("!dts_*", "*"), "dts_x", True),
    ],
)
def test_the_last_pattern_that_matches_counts(patterns, name, allowed):
    assert allows(patterns, name) is allowed


def test_an_ordinary_container_is_allowed_without_any_policy():
    assert denials(volumes=["data"], network="bridge", cpus=64, memory=64 * GIB) == []


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ({"volumes": ["dts_postgres"]}, "the volume dts_postgres (volumes: *, !dts_*)"),
        ({"network": "dts_dts"}, "the network dts_dts (networks: *, !dts_*)"),
        ({"network": "host"}, "the network of the machine (host_network)"),
        ({"network": "container:abc"}, "the network of another container"),
    ],
)
def test_what_reaches_into_the_machine_or_into_dts_is_denied_without_any_policy(kind, word):
    assert denials(**kind) == [word]


@pytest.mark.parametrize(
    ("policy", "kind", "denied"),
    [
        (NodePolicy(images=("registry.example/*",)), {"image": "registry.example/a:1"}, False),
        (NodePolicy(images=("registry.example/*",)), {"image": "alpine"}, True),
        (NodePolicy(images=("*@sha256:*",)), {"image": "alpine:3"}, True),
        (NodePolicy(volumes=()), {"volumes": ["data"]}, True),
        (NodePolicy(networks=()), {"network": "web"}, True),
        (NodePolicy(networks=()), {"network": "none"}, False),
        (NodePolicy(host_network=True), {"network": "host"}, False),
        (NodePolicy(host_network=True), {"network": "container:x"}, True),
        (NodePolicy(root=False), {}, True),
        (NodePolicy(root=False), {"user": "0:10"}, True),
        (NodePolicy(root=False), {"user": "000"}, True),
        (NodePolicy(root=False), {"user": "root"}, True),
        (NodePolicy(root=False), {"user": "1000"}, False),
        (NodePolicy(root=False), {"user": "1000:0"}, False),
        (NodePolicy(root=False), {"user": "app:app"}, True),
        (NodePolicy(cpus=2), {"cpus": 2}, False),
        (NodePolicy(cpus=2), {"cpus": 2.5}, True),
        (NodePolicy(memory=GIB), {"memory": GIB}, False),
        (NodePolicy(memory=GIB), {"memory": GIB + 1}, True),
    ],
)
def test_each_key_of_a_policy_bites_and_opens(policy, kind, denied):
    assert bool(denials(policy, **kind)) is denied


@pytest.mark.parametrize("image", ["sha256:" + "0" * 64, "0123456789abcdef" * 4, "Alpine", ""])
def test_what_is_no_name_of_an_image_is_denied_whatever_the_patterns(image):
    assert len(denials(image=image)) == 1


def test_all_that_is_denied_is_said_at_once():
    assert len(denials(NodePolicy(images=(), root=False), volumes=["dts_a", "dts_b"], network="host")) == 5


def test_who_says_nothing_gets_the_most():
    policy = NodePolicy(cpus=2, memory=GIB)
    assert policy.limited(Resources()) == Resources(cpus=2, memory=GIB)
    assert policy.limited(Resources(cpus=1, memory=5)) == Resources(cpus=1, memory=5)


def bind(path: str, *, read_only: bool = False) -> dict[str, object]:
    return {"Type": "bind", "Source": path, "Target": "/x", "ReadOnly": read_only}


@pytest.mark.parametrize(
    "more",
    [
        {"Mounts": [bind("/")]},
        {"Mounts": [bind("/var/run/docker.sock", read_only=True)]},
        {"Mounts": [{"Type": "npipe", "Source": "x"}]},
        {"Mounts": [{"Source": "v", "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind", "device": "/"}}}}]},
        {"Mounts": [{"Type": "volume", "Source": "dts_executor"}]},
        {"CapabilityAdd": ["CAP_SYS_ADMIN"]},
        {"Privileges": {"SELinuxContext": {"Disable": True}}},
        {"Privileges": {"Seccomp": {"Mode": "unconfined"}, "NoNewPrivileges": True}},
        {"Sysctls": {"kernel.x": "1"}},
        {"SomethingNew": 1},
        {"Secrets": [{"SecretName": "dts_admin_token"}]},
        {"Configs": [{"ConfigName": "dts_policy"}]},
        {"template": {"PluginSpec": {}}},
        {"copied": "dts_executor"},
        {"networks": ["dts_dts"]},
        {"networks": ["host"]},
    ],
)
def test_a_service_may_nothing_that_its_node_has_not_opened(more):
    assert len(of_service(**more)) == 1


def test_an_ordinary_copy_is_allowed():
    assert (
        of_service(
            copied="web_app",
            networks=["web_default"],
            template={"Placement": {}, "Resources": {}, "Networks": []},
            Secrets=[{"SecretName": "web_password"}],
            Mounts=[{"Type": "volume", "Source": "web_data"}, {"Type": "tmpfs", "Target": "/tmp"}],
            Env=["A=b"],
            # What `docker stack deploy` says of every service.
            Privileges={"CredentialSpec": None, "SELinuxContext": None, "NoNewPrivileges": True},
        )
        == []
    )


@pytest.mark.parametrize(
    ("path", "read_only", "allowed"),
    [
        ("/srv/data", True, True),
        ("/srv/data/below", True, True),
        ("/srv/data", False, False),
        ("/srv/database", True, False),
        ("/srv/data/../../etc", True, False),
        ("/srv", True, False),
        ("/scratch/x", False, True),
    ],
)
def test_paths_are_opened_with_all_below_them(path, read_only, allowed):
    policy = NodePolicy(binds=(Bind("/srv/data"), Bind("/scratch", write=True)))
    assert (of_service(policy, Mounts=[bind(path, read_only=read_only)]) == []) is allowed


def test_capabilities_are_opened_by_name():
    policy = NodePolicy(capabilities=("CAP_NET_ADMIN",))
    assert of_service(policy, CapabilityAdd=["CAP_NET_ADMIN"]) == []
    assert len(of_service(policy, CapabilityAdd=["CAP_NET_ADMIN", "ALL"])) == 1


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "::", "::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "::127.0.0.1"),
        *("fec0::1", "64:ff9b:1::a9fe:a9fe", "::ffff:0:7f00:1", "5f00::1", "4000::1"),
        *("64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    ],
)
def test_requests_go_to_no_address_that_is_not_public(address):
    assert not allowed_address(DEFAULT, address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_requests_go_to_public_addresses(address):
    assert allowed_address(DEFAULT, address)


def test_networks_that_are_not_public_are_opened_one_by_one():
    policy = NodePolicy(private_addresses=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
    assert allowed_address(policy, "10.1.2.3")
    assert allowed_address(policy, "::ffff:10.1.2.3")
    assert allowed_address(policy, "fd00::1")
    assert not allowed_address(policy, "192.168.1.1")
    assert not allowed_address(policy, "::1")


def test_hosts_and_execs_are_allowed_by_name():
    assert http_denials(DEFAULT, "example.com") == []
    assert http_denials(NodePolicy(hosts=("*.example.com",)), "EVIL.com") == [
        "the host evil.com (hosts: *.example.com)"
    ]
    assert http_denials(NodePolicy(hosts=("*", "!vault.example.com")), "vault.example.com.") != []
    assert exec_denials(DEFAULT, ["web_db.1.abc", "web_db"], {}) == []
    assert exec_denials(DEFAULT, ["dts_postgres.1.abc", "dts_postgres"], {}) == [
        "a command in dts_postgres.1.abc (execs: *, !dts_*)",
        "a command in dts_postgres (execs: *, !dts_*)",
    ]


def host(**config) -> dict[str, object]:
    return {"HostConfig": config}


MACHINES = [
    host(Privileged=True),
    host(PidMode="host"),
    host(IpcMode="host"),
    host(NetworkMode="host"),
    host(CapAdd=["SYS_ADMIN"]),
    host(CapAdd=["CAP_SYS_ADMIN"]),
    host(Devices=[{"PathOnHost": "/dev/sda"}]),
    *({"Mounts": [{"Type": "bind", "Source": path}]} for path in ("/var/run/docker.sock", "/run", "/var/run/", "/")),
    {"Mounts": [{"Type": "bind", "Source": "/srv/engine/docker.sock"}]},
]


@pytest.mark.parametrize("about", MACHINES)
def test_a_command_goes_into_no_container_that_has_its_machine_unless_the_policy_names_it(about):
    assert len(exec_denials(DEFAULT, ["portainer"], about)) == 1
    assert exec_denials(NodePolicy(execs=("*", "portainer")), ["portainer"], about) == []
    assert exec_denials(NodePolicy(execs=("monitor_agent",)), ["monitor_agent.x.y", "monitor_agent"], about) != []


@pytest.mark.parametrize(
    "about",
    [
        host(NetworkMode="web_default", PidMode="", IpcMode="private", CapAdd=None, Devices=[]),
        {"Mounts": [{"Type": "bind", "Source": "/srv/db"}, {"Type": "volume", "Source": "/var/lib/docker/volumes/x"}]},
        {"Mounts": [{"Type": "bind", "Source": "/run/postgresql"}, {"Type": "bind", "Source": "/runner"}]},
    ],
)
def test_a_command_goes_into_ordinary_containers(about):
    assert exec_denials(DEFAULT, ["web_db"], about) == []


def test_what_the_policy_opens_for_copies_is_open_for_commands_too():
    policy = NodePolicy(capabilities=("CAP_NET_ADMIN",), host_network=True)
    assert exec_denials(policy, ["vpn"], host(NetworkMode="host", CapAdd=["NET_ADMIN"])) == []


def test_what_compose_starts_is_named_so_that_no_task_reaches_it():
    """Compose would name it after its directory: a command in the container with the engine's socket is root's."""
    content = yaml.safe_load((Path(__file__).parents[2] / "compose.yml").read_text())
    containers = [service.get("container_name", "") for service in content["services"].values()]
    assert all(exec_denials(DEFAULT, [name], {}) for name in containers)
    assert all(denials(volumes=[volume["name"]]) for volume in content["volumes"].values())
    assert denials(network=content["networks"]["default"]["name"])
