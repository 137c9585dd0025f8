from __future__ import annotations

import time
import unicodedata
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dts.domain.definition import compile_definition
from dts.domain.validate import SPEC_BYTES, check_task, is_name
from dts.pb.dts.v1 import (
    Backoff,
    Catchup,
    ContainerKind,
    Cron,
    DateRange,
    ExecKind,
    HttpKind,
    Interval,
    Kind,
    NodeLoss,
    NoopKind,
    OneShot,
    Overlap,
    Policies,
    ProcessKind,
    Resources,
    Rule,
    Schedule,
    ServiceKind,
    TaskSpec,
    VolumeMount,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOOP = Kind(noop=NoopKind())
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def spec(**fields) -> TaskSpec:
    return TaskSpec(**{"name": "backup", "kind": NOOP, **fields})


def refused(given: TaskSpec, **options) -> dict[str, str]:
    """Codes by field."""
    _, violations, _ = check_task(given, now=NOW, **options)
    assert all(0 < len(violation.message) < 300 and violation.message.isprintable() for violation in violations)
    return {violation.field: violation.code for violation in violations}


def warned(given: TaskSpec, **options) -> dict[str, str]:
    _, violations, warnings = check_task(given, now=NOW, **options)
    assert violations == []
    return {warning.field: warning.code for warning in warnings}


def cron(expression: str, **fields) -> Schedule:
    return Schedule(rules=[Rule(cron=Cron(expression=expression))], **fields)


def at(*times: str) -> Schedule:
    return Schedule(rules=[Rule(at=OneShot(time=text)) for text in times])


def test_the_least_definition_is_a_name_and_a_kind():
    assert refused(spec()) == {}
    assert warned(spec()) == {}


@pytest.mark.parametrize("name", ["a", "0", "a.b_c-d", "backup-2", "x" * 63, "deadbeef", "a1" * 15])
def test_a_name_may_be(name):
    assert refused(spec(name=name)) == {}
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 64,
        "Backup",
        "back up",
        "a/b",
        "..",
        "-a",
        "a-",
        ".a",
        "--help",
        "a\n",
        "a\0",
        "bаckup",  # a Cyrillic letter
        "bäckup",
        "a\u200bb",
        "a\u202eb",
        "💾",
        "\ud800",
        "x" * 10_000_000,
    ],
)
def test_a_name_may_not_be(name):
    assert refused(spec(name=name))["name"] == "name.invalid"
    assert not is_name(name)


@pytest.mark.parametrize("name", [str(UUID(int=1 << 127)), UUID(int=1 << 127).hex, "a" * 32, "0-1" * 16])
def test_a_name_is_never_taken_for_an_id(name):
    assert refused(spec(name=name)) == {"name": "name.id"}


def test_everything_that_is_wrong_is_said_at_once():
    wrong = TaskSpec(
        name="Not A Name",
        description="\0",
        schedule=cron("61 * * * *"),
        kind=Kind(process=ProcessKind(env={"1A": "x"}, working_dir="here", stop_signal="SIGNAL")),
        policies=Policies(retries=-1, max_parallel=0, group_limit=3, constraints=["nonsense"], timeout=-SECOND),
        labels={"dts.own": "x"},
    )
    assert set(refused(wrong)) == {
        "name",
        "description",
        "schedule.rules[0].cron",
        "process.command",
        "process.env.1A",
        "process.working_dir",
        "process.stop_signal",
        "retries",
        "max_parallel",
        "group_limit",
        "constraints[0]",
        "timeout",
        "labels.dts.own",
    }


@pytest.mark.parametrize("text", ["\0", "a\x1b[31m", "\x7f", "\x9b31m", "\ud800", "x\udfff"])
@pytest.mark.parametrize("field", ["description", "labels", "command", "env", "working_dir", "user", "image"])
def test_control_characters_and_halves_of_characters_are_refused_everywhere(text, field):
    container = {"image": "app:1"}
    fields: dict[str, object] = {}
    match field:
        case "description":
            fields["description"] = text
        case "labels":
            fields["labels"] = {"key": text}
        case "command":
            container["command"] = ["a", text]
        case "env":
            container["env"] = {"A": text}
        case "working_dir":
            container["working_dir"] = "/" + text
        case _:
            container[field] = text
    found = refused(spec(kind=Kind(container=ContainerKind(**container)), **fields))
    assert len(found) == 1
    assert field in next(iter(found))


def test_a_description_is_text_of_any_language_in_one_normal_form():
    text = "Sicherung für 東京 💾\n\tsecond line <script>{{7*7}}${jndi:x}'; DROP"
    checked, violations, _ = check_task(spec(description=unicodedata.normalize("NFD", text)), now=NOW)
    assert violations == []
    assert checked.description == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(("length", "found"), [(1999, {}), (2000, {}), (2001, {"description": "text.length"})])
def test_a_description_has_a_length(length, found):
    assert refused(spec(description="é" * length)) == found


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"team": "ops", "a.b/c_d-e": "", "X": "any text: ü\n"}, {}),
        ({f"k{n}": "" for n in range(64)}, {}),
        ({f"k{n}": "" for n in range(65)}, {"labels": "labels.many"}),
        ({"k" * 63: "v" * 256}, {}),
        ({"k" * 64: ""}, {"labels." + "k" * 64: "labels.key"}),
        ({"k" * 65: ""}, {"labels": "labels.key"}),
        ({"": ""}, {"labels": "labels.key"}),
        ({"a b": ""}, {"labels.a b": "labels.key"}),
        ({"a\n": ""}, {"labels": "labels.key"}),
        ({"\ud800": ""}, {"labels": "labels.key"}),
        ({"k": "v" * 257}, {"labels.k": "text.length"}),
        ({"dts.task": ""}, {"labels.dts.task": "labels.reserved"}),
        ({"Com.Docker.x": ""}, {"labels.Com.Docker.x": "labels.reserved"}),
    ],
)
def test_labels(labels, found):
    assert refused(spec(labels=labels)) == found


@pytest.mark.parametrize("size", [SPEC_BYTES - 1, SPEC_BYTES, SPEC_BYTES + 1])
def test_a_definition_has_a_size(size):
    def sized(padding: int) -> TaskSpec:
        return spec(kind=Kind(process=ProcessKind(command=["true", "x" * padding])))

    padding = size - len(bytes(sized(60_000))) + 60_000
    given = sized(padding)
    assert len(bytes(given)) == size
    assert refused(given) == ({} if size <= SPEC_BYTES else {"spec": "spec.size"})


def test_a_number_that_no_message_can_carry_is_refused():
    assert refused(spec(policies=Policies(retries=1 << 40))) == {"retries": "policy.range"}
    assert refused(spec(schedule=cron("* * * * *", max_runs=1 << 70))) == {"schedule.max_runs": "schedule.max_runs"}


def test_what_is_given_is_not_changed():
    given = spec(description="e\u0301", policies=Policies(backoff=Backoff()))
    before = bytes(given)
    check_task(given, now=NOW)
    assert bytes(given) == before


def test_two_definitions_that_mean_the_same_have_one_normal_form():
    empty = spec(policies=Policies(backoff=Backoff(), resources=Resources()))
    assert bytes(check_task(empty, now=NOW)[0]) == bytes(spec())
    zero, _, _ = check_task(spec(policies=Policies(retries=0, resources=Resources())), now=NOW)
    assert bytes(zero) == bytes(spec(policies=Policies(retries=0)))


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        (cron("0 4 * * *", timezone="Europe/Zurich"), {}),
        (cron("61 * * * *"), {"schedule.rules[0].cron": "cron.range"}),
        (cron("0 0 30 2 *"), {"schedule.rules[0].cron": "schedule.never_fires"}),
        (cron("* * * * *", timezone="Mars/Phobos"), {"schedule.timezone": "schedule.timezone"}),
        (Schedule(), {"schedule.rules": "schedule.empty"}),
        (Schedule(rules=[Rule()]), {"schedule.rules[0]": "schedule.empty"}),
        (cron("* * * * *", starts_at=datetime.min.replace(tzinfo=UTC)), {"schedule.starts_at": "schedule.bounds"}),
        (cron("* * * * *", ends_at=datetime.max.replace(tzinfo=UTC)), {"schedule.ends_at": "schedule.bounds"}),
        (cron("* * * * *", starts_at=datetime(2027, 1, 1)), {"schedule.starts_at": "schedule.bounds"}),
        (cron("* * * * *", ends_at=NOW - DAY), {"schedule.ends_at": "schedule.in_past"}),
        (cron("* * * * *", starts_at=NOW + DAY, ends_at=NOW), {"schedule.ends_at": "schedule.bounds"}),
        (cron("* * * * *", max_runs=0), {"schedule.max_runs": "schedule.max_runs"}),
        (cron("* * * * *", jitter=-SECOND), {"schedule.jitter": "schedule.jitter"}),
        (cron("* * * * *", exclude=[DateRange(first="12-24")] * 366), {}),
        (cron("* * * * *", exclude=[DateRange(first="12-24")] * 367), {"schedule.exclude": "schedule.many"}),
        (cron("* * * * *", exclude=[DateRange(first="2026-02-30")]), {"schedule.exclude[0]": "schedule.exclude"}),
        (cron("* * * * *", dst_gap=9), {"schedule.dst_gap": "enum.unknown"}),
        (cron("* * * * *", dst_fold=9), {"schedule.dst_fold": "enum.unknown"}),
        (
            Schedule(rules=[Rule(cron=Cron(expression="* * * * *", dialect=9))]),
            {"schedule.rules[0].cron.dialect": "enum.unknown"},
        ),
        (
            Schedule(rules=[Rule(every=Interval(period=timedelta(seconds=0.5)))]),
            {"schedule.rules[0].every": "schedule.interval"},
        ),
        (at("2026-03-01T12:00:01Z"), {}),
        (at("2026-03-01T12:00:00Z"), {"schedule.rules[0].at": "schedule.in_past"}),
        (at("tomorrow"), {"schedule.rules[0].at": "schedule.at"}),
    ],
)
def test_schedules(schedule, found):
    got = refused(spec(schedule=schedule))
    if found.get("schedule.rules[0].cron") == "cron.range":
        assert list(got) == list(found)
    else:
        assert got == found


def test_what_may_surprise_about_a_schedule_is_said():
    assert warned(spec(schedule=cron("0 0 29 2 *"))) == {"schedule": "schedule.surprising"}


HOUR_AGO = at("2026-03-01T11:00:00Z")


@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ({}, False),
        ({"catchup": Catchup.LATEST}, False),
        ({"catchup_window": timedelta(minutes=59)}, False),
        ({"catchup_window": timedelta(minutes=61)}, True),
        ({"catchup": Catchup.ALL, "catchup_window": 2 * DAY}, True),
        ({"catchup": Catchup.NONE, "catchup_window": 2 * DAY}, False),
    ],
)
def test_an_instant_of_the_past_is_allowed_if_it_is_to_be_caught_up(policies, allowed):
    found = refused(spec(schedule=HOUR_AGO, policies=Policies(**policies)))
    assert found == ({} if allowed else {"schedule.rules[0].at": "schedule.in_past"})


def test_a_schedule_that_is_over_is_not_caught_up_unless_it_is_made_of_instants():
    over = cron("* * * * *", ends_at=NOW - timedelta(minutes=5))
    found = refused(spec(schedule=over, policies=Policies(catchup_window=DAY)))
    assert found == {"schedule.ends_at": "schedule.in_past"}


def test_a_task_whose_schedule_is_over_can_still_be_changed():
    before = spec(schedule=HOUR_AGO)
    assert refused(spec(schedule=HOUR_AGO, description="new"), before=before) == {}
    assert refused(spec(schedule=at("2026-03-01T10:00:00Z")), before=before) != {}
    unreadable = spec(schedule=cron("61 * * * *"))
    assert refused(unreadable, before=unreadable) != {}


def test_a_changed_task_catches_nothing_up():
    policies = Policies(catchup_window=DAY)
    assert refused(spec(schedule=HOUR_AGO, policies=policies), before=spec()) != {}


INSTANTS = st.sampled_from(
    [NOW, NOW + DAY, NOW - DAY, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "/a", "0 4 * * *", "2026-02-30", "12-24", "SIGINT", "node.id==a", "{{ task }}", "\ud800"]
    ),
    st.text(max_size=20),
)
NUMBERS = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([2**31 - 1, -(2**31), 2**63 - 1, 2**64]))
ENUMS = st.integers(-1, 9)
SPANS = st.one_of(st.none(), st.timedeltas(), st.sampled_from([timedelta(0), SECOND, DAY]))
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=3)
LISTS = st.lists(TEXTS, max_size=3)
RULES = st.one_of(
    st.builds(Rule, cron=st.builds(Cron, expression=TEXTS, dialect=ENUMS)),
    st.builds(Rule, every=st.builds(Interval, period=SPANS, phase=SPANS)),
    st.builds(Rule, at=st.builds(OneShot, time=TEXTS)),
    st.just(Rule()),
)
SCHEDULES = st.builds(
    Schedule,
    rules=st.lists(RULES, max_size=3),
    timezone=st.one_of(st.sampled_from(["", "Europe/Zurich", "Etc/GMT+3"]), TEXTS),
    jitter=SPANS,
    starts_at=st.one_of(st.none(), INSTANTS),
    ends_at=st.one_of(st.none(), INSTANTS),
    exclude=st.lists(st.builds(DateRange, first=TEXTS, last=TEXTS), max_size=2),
    max_runs=NUMBERS,
    dst_gap=ENUMS,
    dst_fold=ENUMS,
)
POLICIES = st.builds(
    Policies,
    overlap=ENUMS,
    max_parallel=NUMBERS,
    group=TEXTS,
    group_limit=NUMBERS,
    catchup=ENUMS,
    catchup_window=SPANS,
    catchup_max=NUMBERS,
    timeout=SPANS,
    stop_grace=SPANS,
    retries=NUMBERS,
    backoff=st.one_of(st.none(), st.builds(Backoff, initial=SPANS, factor=st.floats(), max=SPANS)),
    retry_exit_codes=st.lists(st.integers(-1, 256), max_size=2),
    on_node_loss=ENUMS,
    constraints=LISTS,
    prefer=LISTS,
    spread=LISTS,
    resources=st.one_of(st.none(), st.builds(Resources, cpus=st.floats(), memory=st.integers(-1, 2**64))),
)
KINDS = st.one_of(
    st.none(),
    st.just(NOOP),
    st.just(Kind()),
    st.builds(Kind, process=st.builds(ProcessKind, command=LISTS, env=MAPS, working_dir=TEXTS, stop_signal=TEXTS)),
    st.builds(
        Kind,
        container=st.builds(
            ContainerKind,
            image=TEXTS,
            command=LISTS,
            env=MAPS,
            user=TEXTS,
            pull=ENUMS,
            network=TEXTS,
            mounts=st.lists(st.builds(VolumeMount, volume=TEXTS, target=TEXTS), max_size=2),
        ),
    ),
    st.builds(
        Kind,
        service=st.builds(ServiceKind, copy_of=TEXTS, image=TEXTS, command=LISTS, env=MAPS, networks=LISTS, user=TEXTS),
    ),
    st.builds(
        Kind,
        exec=st.builds(ExecKind, container=TEXTS, service=TEXTS, replicas=ENUMS, command=LISTS, env=MAPS, user=TEXTS),
    ),
    st.builds(Kind, http=st.builds(HttpKind, url=TEXTS, method=TEXTS, headers=MAPS, body=TEXTS)),
)
SPECS = st.builds(
    TaskSpec,
    name=st.one_of(st.just("backup"), TEXTS),
    description=TEXTS,
    schedule=st.one_of(st.none(), SCHEDULES),
    kind=KINDS,
    policies=st.one_of(st.none(), POLICIES),
    labels=MAPS,
)


@settings(max_examples=400, deadline=None)
@given(given_spec=SPECS, before=st.one_of(st.none(), SPECS))
def test_nothing_that_is_given_makes_the_check_fail_and_what_passes_can_be_stored_and_used(given_spec, before):
    checked, violations, warnings = check_task(given_spec, now=NOW, before=before)
    for found in (*violations, *warnings):
        assert found.field.isprintable()
        assert found.message.isprintable()
        assert found.code
    if not violations:
        assert TaskSpec.parse(bytes(checked)) == checked
        assert compile_definition(uuid4(), 1, checked).spec is checked
        assert check_task(checked, now=NOW, before=before)[0] == checked


def test_a_large_and_wrong_definition_is_refused_quickly():
    wrong = spec(
        description="x" * 100_000,
        labels={f"k{n}": "\0" for n in range(10_000)},
        kind=Kind(container=ContainerKind(image="a" * 100_000, command=["{{ " * 100] * 999)),
        policies=Policies(constraints=["x" * 100] * 2_000),
        schedule=Schedule(rules=[Rule(cron=Cron(expression="*" * 1_000))] * 200),
    )
    assert len(bytes(wrong)) > 1_000_000
    begin = time.process_time()
    found = refused(wrong)
    assert time.process_time() - begin < 0.5
    assert found["labels"] == "labels.many"
    assert found["constraints"] == "constraints.many"


def test_enums_of_today_are_all_known():
    for overlap in Overlap:
        assert refused(spec(policies=Policies(overlap=overlap))) == {}
    for loss in NodeLoss:
        assert refused(spec(policies=Policies(on_node_loss=loss))) == {}
