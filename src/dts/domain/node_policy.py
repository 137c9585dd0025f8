"""What a node lets containers do, whatever the scheduler says: the last word, spoken where the engine is.

Whoever may ask an engine for anything is root on its machine. So what reaches into the machine, or into dts itself, is
denied unless the node's own policy opens it; and what this module does not know is denied, too.
"""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from dts.domain.image import check_image, whole_name
from dts.pb.dts.v1 import ContainerKind, Resources

ALL_BUT_OURS = ("*", "!dts_*")
"""Everything but what `docker stack deploy … dts` made: nobody shall read the secrets of the scheduler by a task."""

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SAFE_NETWORKS = ("", "default", "bridge", "none")

ENGINE_SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")
"""Whoever may write to one of them is root on the machine."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out to the world: beside it lie translators, site-local addresses of old, and more."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_TEMPLATE = frozenset(
    {"ContainerSpec", "Resources", "RestartPolicy", "Placement", "Networks", "LogDriver", "ForceUpdate", "Runtime"}
)
_CONTAINER = frozenset(
    {
        *("Image", "Labels", "Command", "Args", "Hostname", "Env", "Dir", "User", "Groups", "TTY", "OpenStdin"),
        *("ReadOnly", "Mounts", "StopSignal", "StopGracePeriod", "Healthcheck", "Hosts", "DNSConfig", "Secrets"),
        *("Configs", "Isolation", "Init", "CapabilityDrop", "CapabilityAdd", "Ulimits", "Privileges"),
    }
)


@dataclass(frozen=True, slots=True)
class Bind:
    """A path of the machine that may be mounted, with all below it. write: not only to read."""

    path: str
    write: bool = False


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """What is allowed. Names are allowed by patterns, of which the last that matches counts; `!` denies.

    images: by their whole name, such as docker.io/library/alpine:3.
    volumes, networks: by name.
    secrets, configs: of the Swarm, by name.
    copies: services of the Swarm that may be copied, by name.
    binds: paths of the machine that copied services may mount.
    capabilities: what copied services may have beyond the engine's default.
    host_network: copied services may be in the network of the machine; no definition can ask for it.
    root: containers may run as root; else each names another user by number.
    execs: containers and services that commands may run in, by name.
    hosts: that requests may go to, by name.
    private_addresses: networks that requests may go to although they are not public.
    pids: the most processes of a container.
    cpus, memory: the most that a container may have, and what it has if its task says nothing; 0: no limit. Bytes.
    """

    images: tuple[str, ...] = ("*",)
    volumes: tuple[str, ...] = ALL_BUT_OURS
    networks: tuple[str, ...] = ALL_BUT_OURS
    secrets: tuple[str, ...] = ALL_BUT_OURS
    configs: tuple[str, ...] = ALL_BUT_OURS
    copies: tuple[str, ...] = ALL_BUT_OURS
    binds: tuple[Bind, ...] = ()
    capabilities: tuple[str, ...] = ()
    host_network: bool = False
    root: bool = True
    execs: tuple[str, ...] = ALL_BUT_OURS
    hosts: tuple[str, ...] = ("*",)
    private_addresses: tuple[Network, ...] = ()
    pids: int = 4096
    cpus: float = 0.0
    memory: int = 0

    def limited(self, wanted: Resources) -> Resources:
        """What a container gets of what its task wants."""
        return Resources(cpus=wanted.cpus or self.cpus, memory=wanted.memory or self.memory)


def container_denials(policy: NodePolicy, kind: ContainerKind, wanted: Resources) -> list[str]:
    """What of a container is not allowed, each as a noun phrase with what is; empty if all is.

    Args:
        policy: of the node.
        kind: the definition; its network by name, not by id.
        wanted: what it reserves.
    """
    return [
        *_image(policy, kind.image),
        *_names("the volume", [mount.volume for mount in kind.mounts], policy.volumes, "volumes"),
        *_network(policy, kind.network),
        *_user(policy, kind.user),
        *_resources(policy, wanted),
    ]


def service_denials(
    policy: NodePolicy, spec: Mapping[str, Any], wanted: Resources, *, networks: Sequence[str], copied: str
) -> list[str]:
    """What of a one-shot service is not allowed.

    Args:
        policy: of the manager that asks for it.
        spec: what the Swarm would be asked for.
        wanted: what it reserves.
        networks: all that it joins, by name.
        copied: name of the service that was copied; empty if none was.
    """
    template = spec["TaskTemplate"]
    container = template["ContainerSpec"]
    return [
        *(_names("the copy of the service", [copied], policy.copies, "copies") if copied else ()),
        *_image(policy, container["Image"]),
        *_names("the secret", _named(container, "Secrets", "SecretName"), policy.secrets, "secrets"),
        *_names("the config", _named(container, "Configs", "ConfigName"), policy.configs, "configs"),
        *(phrase for name in networks for phrase in _network(policy, name)),
        *(phrase for mount in container.get("Mounts") or () for phrase in _mount(policy, mount)),
        *_names("the capability", container.get("CapabilityAdd") or (), policy.capabilities, "capabilities"),
        *_privileges(container.get("Privileges") or {}),
        *_user(policy, container.get("User") or ""),
        *_resources(policy, wanted),
        *_unknown(template, container),
    ]


def exec_denials(policy: NodePolicy, names: Sequence[str], about: Mapping[str, Any]) -> list[str]:
    """What of a command in a container is not allowed.

    A container that has its machine is a way to it for every command. Only one that the policy names, without a
    pattern, is meant all the same.

    Args:
        policy: of the node.
        names: of the container, and of its service if it is of one.
        about: the container as the engine describes it.
    """
    denied = list(_names("a command in", names, policy.execs, "execs"))
    if denied or any(name in policy.execs for name in names):
        return denied
    return [f"a command in {names[0]}, which has {what} (execs)" for what in _machine(policy, about)]


def _machine(policy: NodePolicy, about: Mapping[str, Any]) -> Iterator[str]:
    """What of its machine a container has."""
    host = about.get("HostConfig") or {}
    if host.get("Privileged"):
        yield "all privileges"
    for mode, what in (("PidMode", "processes"), ("IpcMode", "shared memory"), ("NetworkMode", "network")):
        if host.get(mode) == "host" and not (mode == "NetworkMode" and policy.host_network):
            yield f"the {what} of the machine"
    for name in host.get("CapAdd") or ():
        if f"CAP_{str(name).removeprefix('CAP_')}" not in policy.capabilities:
            yield f"the capability {name}"
    if host.get("Devices") or host.get("DeviceCgroupRules"):
        yield "devices of the machine"
    for mount in about.get("Mounts") or ():
        if mount.get("Type") == "bind" and _leads_to_engine(str(mount.get("Source") or "")):
            yield f"the path {mount['Source']} of the machine, and with it an engine"


def _leads_to_engine(path: str) -> bool:
    clean = posixpath.normpath(path.replace("/var/run", "/run", 1))
    above = clean if clean == "/" else clean + "/"
    return posixpath.basename(clean) == "docker.sock" or any(
        socket == clean or socket.startswith(above) for socket in ENGINE_SOCKETS
    )


def http_denials(policy: NodePolicy, host: str) -> list[str]:
    """What of a request is not allowed, as far as its host says; see `allowed_address` for the rest."""
    return list(_names("the host", [host.lower().rstrip(".")], policy.hosts, "hosts"))


def allowed_address(policy: NodePolicy, address: str) -> bool:
    """Whether a request may go to an address: to public ones, and to those that the policy opens.

    What an IPv6 address leads to counts: an IPv4 address that is mapped into it, or that a gateway would translate it
    to (6to4, Teredo, NAT64).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = _inner(ip)
    if any(ip in network or any(one in network for one in inner) for network in policy.private_addresses):
        return True
    return all(_public(one) for one in inner or [ip])


def _public(ip: Ip) -> bool:
    return ip.is_global and not ip.is_multicast and (ip.version == 4 or ip in _UNICAST)


def _inner(ip: Ip) -> list[Ip]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    found: list[Ip] = [one for one in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if one is not None]
    if ip in _NAT64 or ip in _COMPATIBLE:
        found.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return found


def allows(patterns: Sequence[str], name: str) -> bool:
    """Whether the last pattern that matches a name allows it; nothing that matches is a no."""
    for pattern in reversed(patterns):
        if fnmatchcase(name, pattern.removeprefix("!")):
            return not pattern.startswith("!")
    return False


def _image(policy: NodePolicy, image: str) -> Iterator[str]:
    if wrong := check_image(image):  # an engine would take it for something that no pattern speaks of
        yield f"the image {image}, which {wrong}"
        return
    yield from _names("the image", [whole_name(image)], policy.images, "images")


def _network(policy: NodePolicy, network: str) -> Iterator[str]:
    if network == "host":
        if not policy.host_network:
            yield "the network of the machine (host_network)"
    elif network.startswith("container:"):
        yield "the network of another container"
    elif network not in SAFE_NETWORKS:
        yield from _names("the network", [network], policy.networks, "networks")


def _mount(policy: NodePolicy, mount: Mapping[str, Any]) -> Iterator[str]:
    source, kind = str(mount.get("Source") or ""), mount.get("Type", "volume")
    if kind == "volume":
        yield from _names("the volume", [source] if source else [], policy.volumes, "volumes")
        if ((mount.get("VolumeOptions") or {}).get("DriverConfig") or {}).get("Options"):
            yield f"the volume {source} with options of its driver, which may name paths of the machine"
    elif kind == "bind":
        if not _bindable(policy, source, write=not mount.get("ReadOnly")):
            yield f"the path {source} of the machine{' to write' if not mount.get('ReadOnly') else ''} (binds)"
    elif kind != "tmpfs":
        yield f"a mount of the type {kind}"


def _bindable(policy: NodePolicy, path: str, *, write: bool) -> bool:
    clean = posixpath.normpath(path)
    return any(
        (bind.write or not write) and (clean == bind.path or clean.startswith(bind.path.rstrip("/") + "/"))
        for bind in policy.binds
    )


def _user(policy: NodePolicy, user: str) -> Iterator[str]:
    """A name means what the image says: it may call root by any."""
    number = user.partition(":")[0]
    if not policy.root and not (number.isdecimal() and int(number)):
        yield "root; the task must name another user, by number (root)"


def _resources(policy: NodePolicy, wanted: Resources) -> Iterator[str]:
    if policy.cpus and wanted.cpus > policy.cpus:
        yield f"{wanted.cpus:g} cpus; at most {policy.cpus:g} are (cpus)"
    if policy.memory and wanted.memory > policy.memory:
        yield f"{wanted.memory} bytes of memory; at most {policy.memory} are (memory)"


def _names(what: str, names: Iterable[str], patterns: Sequence[str], key: str) -> Iterator[str]:
    for name in names:
        if not allows(patterns, name):
            yield f"{what} {name} ({key}: {', '.join(patterns) or 'none'})"


def _named(container: Mapping[str, Any], key: str, name: str) -> list[str]:
    return [str(one.get(name)) for one in container.get(key) or ()]


def _privileges(privileges: Mapping[str, Any]) -> Iterator[str]:
    """`docker stack deploy` gives each service a full list of them, which says nothing."""
    for name, value in privileges.items():
        if value and name != "NoNewPrivileges":
            yield f"{name} of the copied service"


def _unknown(template: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted((template.keys() - _TEMPLATE) | (container.keys() - _CONTAINER)):
        yield f"{name} of the copied service"
