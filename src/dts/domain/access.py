"""Who may call what: one table for every route, and the callers that are judged by it.

People come with a scope, processes of the installation with the roles of their certificate. A route that is not in
the table is refused to everybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dts.domain.errors import PermissionDenied
from dts.pb.dts.v1 import Scope

ROLES = frozenset({"definition", "scheduler", "executor", "database", "gateway"})
"""Every role that a certificate may name."""

INSTALLATION = "operator"
"""The name of whoever shows the token of the installation."""

RESERVED = ROLES | {INSTALLATION, "dts", "anonymous"}
"""Names that no access token may have: nobody shall pass for a part of the installation in the history of a task."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Peer:
    """What a role's certificate says. node: the node it is for; empty if it names none."""

    roles: frozenset[str]
    node: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a call.

    name: changes are attributed to it.
    scope: what a person may do; None for a process that acts for itself.
    roles: what a process may do, by the roles it has.
    node: the only node whose work it may do; empty for any.
    """

    name: str
    scope: Scope | None = None
    roles: frozenset[str] = frozenset()
    node: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route asks for: a scope of people, or one of the roles.

    scope: the least that is enough; None if people may not call it at all.
    roles: whose certificate is enough without any person behind the call.
    open: everybody may, without saying who they are.
    """

    scope: Scope | None = None
    roles: frozenset[str] = frozenset()
    open: bool = False


SELF = Caller("dts", Scope.ADMIN, ROLES)
"""This process, where no call is under way."""

ANONYMOUS = Caller("anonymous")
"""Whoever calls an open route."""

VOUCHING = frozenset({"gateway"})
"""Roles that say for whom they call, and are believed: the gateway has asked people who they are."""

_VIEWER = Rule(Scope.VIEWER)
_OPERATOR = Rule(Scope.OPERATOR)
_ADMIN = Rule(Scope.ADMIN)
_ANY_ROLE = Rule(Scope.VIEWER, ROLES)
_STATUS = Rule(Scope.VIEWER, frozenset({"gateway"}))
_NODE = Rule(Scope.VIEWER, frozenset({"gateway", "scheduler"}))
_EXECUTOR = Rule(None, frozenset({"executor"}))
_DEFINITION = Rule(None, frozenset({"definition"}))
_SCHEDULER = Rule(None, frozenset({"scheduler"}))
_READ = Rule(None, frozenset({"definition", "scheduler", "gateway"}))

_TASKS = "/dts.v1.TaskDefinitionService/"
_RUNS = "/dts.v1.SchedulerService/"
_ACCESS = "/dts.v1.AccessService/"
_CHANNELS = "/dts.v1.ChannelService/"
_WORK = "/dts.v1.ExecutorService/"
_DATA = "/dts.v1.DatabaseService/"

RULES: dict[str, Rule] = {
    _TASKS + "CreateTask": _OPERATOR,
    _TASKS + "GetTask": _VIEWER,
    _TASKS + "ListTasks": _VIEWER,
    _TASKS + "UpdateTask": _OPERATOR,
    _TASKS + "DeleteTask": _OPERATOR,
    _TASKS + "PauseTask": _OPERATOR,
    _TASKS + "ResumeTask": _OPERATOR,
    _TASKS + "ApplyTasks": _OPERATOR,
    _TASKS + "PreviewSchedule": _VIEWER,
    _TASKS + "ListTaskVersions": _VIEWER,
    _RUNS + "Attach": _EXECUTOR,
    _RUNS + "TriggerTask": _OPERATOR,
    _RUNS + "BackfillTask": _OPERATOR,
    _RUNS + "CancelRun": _OPERATOR,
    _RUNS + "RetryRun": _OPERATOR,
    _RUNS + "GetRun": _VIEWER,
    _RUNS + "ListRuns": _VIEWER,
    _RUNS + "ListOutcomes": _VIEWER,
    _RUNS + "ListRunCounts": _VIEWER,
    _RUNS + "WatchRun": _VIEWER,
    _RUNS + "TailLogs": _VIEWER,
    _RUNS + "ListUpcoming": _VIEWER,
    _RUNS + "ListDurations": _VIEWER,
    _RUNS + "ListTickCounts": _VIEWER,
    _RUNS + "ExplainTask": _VIEWER,
    _RUNS + "ListNodes": _VIEWER,
    _RUNS + "DrainNode": _OPERATOR,
    _RUNS + "ResumeNode": _OPERATOR,
    _RUNS + "GetStatus": _STATUS,
    _ACCESS + "CreateToken": _ADMIN,
    _ACCESS + "ListTokens": _ADMIN,
    _ACCESS + "RevokeToken": _ADMIN,
    _CHANNELS + "CreateChannel": _OPERATOR,
    _CHANNELS + "ListChannels": _VIEWER,
    _CHANNELS + "UpdateChannel": _OPERATOR,
    _CHANNELS + "DeleteChannel": _OPERATOR,
    _CHANNELS + "TryChannel": _OPERATOR,
    _WORK + "DescribeNode": _NODE,
    _WORK + "ListAttempts": _NODE,
    _DATA + "SaveTasks": _DEFINITION,
    _DATA + "FindTasks": _READ,
    _DATA + "PageTasks": _READ,
    _DATA + "FindTaskVersions": _READ,
    _DATA + "Materialise": _SCHEDULER,
    _DATA + "Claim": _SCHEDULER,
    _DATA + "Record": _SCHEDULER,
    _DATA + "Sweep": _SCHEDULER,
    _DATA + "Maintain": _SCHEDULER,
    _DATA + "RequestRuns": _SCHEDULER,
    _DATA + "RequestCancel": _SCHEDULER,
    _DATA + "FindRecalls": _SCHEDULER,
    _DATA + "FindOverdue": _SCHEDULER,
    _DATA + "TakeBack": _SCHEDULER,
    _DATA + "FindRun": _READ,
    _DATA + "FindTick": _READ,
    _DATA + "PageRuns": _READ,
    _DATA + "FindDurations": _READ,
    _DATA + "FindOutcomes": _READ,
    _DATA + "FindRunCounts": _READ,
    _DATA + "AppendLogs": _EXECUTOR,
    _DATA + "ReadLogs": _READ,
    _DATA + "RegisterNode": _SCHEDULER,
    _DATA + "RenewLeases": _SCHEDULER,
    _DATA + "StoreSwarm": _SCHEDULER,
    _DATA + "FindNodes": _READ,
    _DATA + "SetNodeDrain": _SCHEDULER,
    _DATA + "StoreToken": _DEFINITION,
    _DATA + "AllTokens": _DEFINITION,
    _DATA + "EndToken": _DEFINITION,
    _DATA + "FindToken": _READ,
    _DATA + "StoreChannel": _SCHEDULER,
    _DATA + "AllChannels": _SCHEDULER,
    _DATA + "FindChannel": _SCHEDULER,
    _DATA + "ChangeChannel": _SCHEDULER,
    _DATA + "DropChannel": _SCHEDULER,
    _DATA + "TakeDeliveries": _SCHEDULER,
    _DATA + "SettleDeliveries": _SCHEDULER,
    _DATA + "TendOutbox": _SCHEDULER,
    _DATA + "Watch": _READ,
    _DATA + "FindLastSuccesses": _SCHEDULER,
    _DATA + "ReadClock": _SCHEDULER,
    _DATA + "DescribeDatabase": _READ,
    "/grpc.health.v1.Health/Check": Rule(open=True),
    # Not open: it would let strangers hold calls.
    "/grpc.health.v1.Health/Watch": _ANY_ROLE,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _ANY_ROLE,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANY_ROLE,
}
"""Every route of every service."""


def is_open(route: str) -> bool:
    """Whether a caller need not say who it is."""
    rule = RULES.get(route)
    return rule is not None and rule.open


def authorise(caller: Caller, route: str) -> None:
    """Lets a call pass.

    Args:
        caller: who makes it.
        route: such as `/dts.v1.SchedulerService/GetRun`.

    Raises:
        PermissionDenied: it may not; the message names what is needed.
    """
    rule = RULES.get(route, Rule())
    if not (rule.open or _enough_scope(caller, rule) or caller.roles & rule.roles):
        method = route.rpartition("/")[2][:63]
        raise PermissionDenied(f"{method} needs {_needed(rule)}; {_shown(caller)}", code="access.denied")


def check_node(caller: Caller, node_id: str) -> None:
    """Lets a process do the work of a node.

    Raises:
        PermissionDenied: its certificate is for another node.
    """
    if caller.node and caller.node != node_id:
        why = f"the certificate is for the node {caller.node[:63]} and for no other"
        raise PermissionDenied(why, code="access.node")


def is_name(text: str) -> bool:
    """Whether text can name a caller: 1 to 63 letters, digits and . _ @ -, beginning with a letter or digit."""
    return _NAME.fullmatch(text) is not None


def scope_word(scope: Scope) -> str:
    """A scope as people write it."""
    return (scope.name or "none").lower()


def _enough_scope(caller: Caller, rule: Rule) -> bool:
    return caller.scope is not None and rule.scope is not None and caller.scope >= rule.scope


def _needed(rule: Rule) -> str:
    ways = [f"the scope {scope_word(rule.scope)}"] if rule.scope is not None else []
    if rule.roles:
        ways.append(f"the certificate of the role {' or '.join(sorted(rule.roles))}")
    return " or ".join(ways) or "a rule, and has none"


def _shown(caller: Caller) -> str:
    if caller.scope is not None:
        return f"{caller.name} has the scope {scope_word(caller.scope)}"
    return f"the certificate is of {' and '.join(sorted(caller.roles)) or 'no role'}"
