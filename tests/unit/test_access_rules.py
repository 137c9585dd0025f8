"""The table of who may call what: complete, and nothing more."""

from __future__ import annotations

import itertools

import pytest

from dts.domain.access import ROLES, RULES, SELF, Caller, authorise, check_node, is_name, is_open
from dts.domain.errors import PermissionDenied
from dts.pb.dts.v1 import Scope

READS = ("Get", "List", "Watch", "Tail", "Explain", "Preview", "Describe")
PUBLIC = ("TaskDefinitionService", "SchedulerService", "AccessService", "ExecutorService")


def person(scope: Scope) -> Caller:
    return Caller("anna", scope)


def allowed(caller: Caller, route: str) -> bool:
    try:
        authorise(caller, route)
    except PermissionDenied:
        return False
    return True


def parts(route: str) -> tuple[str, str]:
    _, service, method = route.split("/")
    return service.removeprefix("dts.v1."), method


def test_a_larger_scope_allows_everything_that_a_smaller_one_does():
    scopes = [Scope.VIEWER, Scope.OPERATOR, Scope.ADMIN]
    for route, (less, more) in itertools.product(RULES, itertools.pairwise(scopes)):
        assert allowed(person(more), route) or not allowed(person(less), route)


def test_a_viewer_only_reads():
    for route in RULES:
        service, method = parts(route)
        if service in PUBLIC:
            reads = method.startswith(READS) and service != "AccessService"
            assert allowed(person(Scope.VIEWER), route) is reads, route


def test_only_admins_touch_tokens():
    for route in RULES:
        if parts(route)[0] == "AccessService":
            assert not allowed(person(Scope.OPERATOR), route)
            assert allowed(person(Scope.ADMIN), route)


def test_nobody_reaches_the_database_or_attaches_with_a_scope():
    for route in RULES:
        if parts(route)[0] == "DatabaseService" or parts(route)[1] == "Attach":
            assert not allowed(person(Scope.ADMIN), route), route


def test_an_executor_attaches_and_appends_logs_and_nothing_else_of_dts():
    caller = Caller("executor", roles=frozenset({"executor"}))
    assert [parts(route)[1] for route in RULES if "dts.v1" in route and allowed(caller, route)] == [
        "Attach",
        "AppendLogs",
    ]


def test_a_gateway_alone_only_reads():
    caller = Caller("gateway", roles=frozenset({"gateway"}))
    for route in RULES:
        if "dts.v1" in route and allowed(caller, route):
            assert parts(route)[1].startswith(("Find", "Page", "Read", "Watch", "Describe", "GetStatus", "ListAtt"))


def test_a_certificate_of_the_database_alone_opens_no_service():
    caller = Caller("database", roles=frozenset({"database"}))
    assert not [route for route in RULES if "dts.v1" in route and allowed(caller, route)]


def test_only_one_route_is_open():
    assert [route for route in RULES if is_open(route)] == ["/grpc.health.v1.Health/Check"]
    assert not is_open("/other.Service/Method")


@pytest.mark.parametrize("route", ["/dts.v1.SchedulerService/Nothing", "", "/", "/grpc.health.v1.Health/check"])
def test_a_route_without_a_rule_is_refused_to_everybody(route):
    with pytest.raises(PermissionDenied, match="needs a rule, and has none"):
        authorise(SELF, route)


def test_this_process_itself_may_do_everything():
    assert all(allowed(SELF, route) for route in RULES)
    assert SELF.roles == ROLES


def test_a_refusal_names_what_is_needed_and_what_there_is():
    with pytest.raises(PermissionDenied) as refused:
        authorise(person(Scope.VIEWER), "/dts.v1.SchedulerService/TriggerTask")
    assert refused.value.message == "TriggerTask needs the scope operator; anna has the scope viewer"
    with pytest.raises(PermissionDenied) as refused:
        authorise(Caller("executor", roles=frozenset({"executor"})), "/dts.v1.DatabaseService/Record")
    assert refused.value.message == (
        "Record needs the certificate of the role scheduler; the certificate is of executor"
    )


def test_a_certificate_that_names_a_node_is_good_for_that_node_only():
    check_node(Caller("executor", roles=frozenset({"executor"}), node="n1"), "n1")
    check_node(Caller("executor", roles=frozenset({"executor"})), "n2")
    with pytest.raises(PermissionDenied, match="for the node n1"):
        check_node(Caller("executor", roles=frozenset({"executor"}), node="n1"), "n2")
    with pytest.raises(PermissionDenied):
        check_node(Caller("executor", roles=frozenset({"executor"}), node="n1"), "")


@pytest.mark.parametrize("text", ["anna", "Anna.B@example.org", "7", "ci-main_2", "a" * 63])
def test_these_can_name_a_caller(text):
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "-a", ".a", "a b", "a\n", "ä", "a" * 64, "a,b", "a/b", "a\x00"])
def test_these_cannot(text):
    assert not is_name(text)
