"""Task files: what is written is read, what is wrong is told with its line, and what was read is written the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dts.cli.files import read_files, read_placed
from dts.domain import taskfile
from dts.domain.errors import InvalidArgument, Violation
from dts.domain.taskfile import dump_tasks, load_task, load_tasks
from dts.pb.dts.v1 import (
    Backoff,
    Catchup,
    ContainerKind,
    Cron,
    DateRange,
    Dialect,
    ExecKind,
    FoldPolicy,
    GapPolicy,
    HttpKind,
    Interval,
    Kind,
    NodeChoice,
    NodeLoss,
    NoopKind,
    OneShot,
    Overlap,
    Policies,
    ProcessKind,
    PullPolicy,
    Replicas,
    Resources,
    Rule,
    Schedule,
    ServiceKind,
    SwarmFile,
    TaskSpec,
    VolumeMount,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "tasks.yaml"


def task(*lines: str) -> str:
    """A file with one task that is right but for the lines given, the first of which is line 4."""
    return "\n".join(["tasks:", "  - name: x", "    noop: {}", *(f"    {line}" for line in lines), ""])


def refused(text: str) -> list[Violation]:
    with pytest.raises(InvalidArgument) as caught:
        load_tasks(text, source="f.yaml")
    return list(caught.value.violations)


def test_the_example_of_the_page_is_read():
    spec = load_task(
        """
tasks:
  - name: nightly-report
    description: Sales report for yesterday
    schedule: {cron: "0 3 * * *", timezone: Europe/Zurich}
    container:
      image: registry.example/report:2
      command: ["report", "--day", "{{ scheduled_at | date }}"]
      env: {MODE: full}
    overlap: skip
    timeout: 30m
    retries: 2
    constraints: ["node.labels.disk==ssd"]
""",
        source="f.yaml",
    )
    assert spec == TaskSpec(
        name="nightly-report",
        description="Sales report for yesterday",
        schedule=Schedule(rules=[Rule(cron=Cron(expression="0 3 * * *"))], timezone="Europe/Zurich"),
        kind=Kind(
            container=ContainerKind(
                image="registry.example/report:2",
                command=["report", "--day", "{{ scheduled_at | date }}"],
                env={"MODE": "full"},
            )
        ),
        policies=Policies(
            overlap=Overlap.SKIP, timeout=timedelta(minutes=30), retries=2, constraints=["node.labels.disk==ssd"]
        ),
    )


def test_scalars_stay_as_they_are_written():
    spec = load_task(
        """
name: no
description: 1:30
process:
  command: [echo, yes, 010, 1e3, ~, null, "~", 2026-01-01, 0x1f]
  env: {OFF: off, EMPTY: , ONE: 1_000}
""",
        source="f.yaml",
    )
    assert spec.name == "no"
    assert spec.description == "1:30"
    assert spec.kind is not None
    assert spec.kind.process == ProcessKind(
        command=["echo", "yes", "010", "1e3", "", "", "~", "2026-01-01", "0x1f"],
        env={"OFF": "off", "EMPTY": "", "ONE": "1_000"},
    )


@pytest.mark.parametrize(
    ("text", "line", "code", "said"),
    [
        (task("timout: 5m"), 4, "file.unknown_key", "'timeout'"),
        (task("schedule: {crom: '* * * * *', every: 5m}"), 4, "file.unknown_key", "'cron'"),
        (task("webhook: {}"), 4, "file.unknown_key", "'webhook'"),
        ("task:\n  - name: x\n", 1, "file.unknown_key", "'tasks'"),
        ("tasks: []\nversion: 2\n", 2, "file.unknown_key", "'version'"),
        (task("name: y"), 4, "file.key_twice", "given twice"),
        (task("labels:", "  a: b", "  a: c"), 6, "file.key_twice", "labels.a is given twice"),
        (task("labels: {[a]: b}"), 4, "file.form", "no plain value"),
        ("tasks: []\ntasks: []\n", 2, "file.key_twice", "given twice"),
        (task() + "  - name: x\n    noop: {}\n", 4, "task.twice", "in line 2 already"),
        ("tasks:\n  - noop: {}\n", 2, "task.unnamed", "no name"),
        ("tasks:\n  - {name: '', noop: {}}\n", 2, "task.unnamed", "no name"),
        (task("process: {command: [a]}"), 2, "kind.many", "not both"),
        (task("retries: 1.5"), 4, "file.value", "not a whole number"),
        (task("retries: --5"), 4, "file.value", "not a whole number"),
        (task("retries: ٣"), 4, "file.value", "not a whole number"),
        # One bit more than the field has would be cut off without a word, and two retries become one.
        (task("retries: 4294967297"), 4, "file.value", "too large"),
        (task("retries: -2147483648"), 4, "file.value", "too large"),
        (task("retry_exit_codes: [1, 4294967297]"), 4, "file.value", "too large"),
        (task("schedule: {every: 5m, max_runs: 9223372036854775808}"), 4, "file.value", "too large"),
        (task("timeout: [5m]"), 4, "file.form", "plain value"),
        (task("timeout: 1:30"), 4, "file.value", "not a duration"),
        (task("timeout: -5s"), 4, "file.value", "not a duration"),
        (task("overlap: Skip"), 4, "file.value", "skip, queue_one"),
        (task("constraints: node.labels.a==b"), 4, "file.form", "list"),
        (task("resources: {cpus: many}"), 4, "file.value", "not a number"),
        (task("resources: {memory: 1zb}"), 4, "file.value", "amount of memory"),
        (task("schedule: '* * * * *'"), 4, "file.form", "mapping"),
        (task("schedule: {timezone: UTC}"), 4, "schedule.empty", "at least one of"),
        (task("schedule: {every: 5m, starts_at: 2026-01-01}"), 4, "file.value", "offset"),
        (task("schedule: {every: 5m, ends_at: '0001-01-01T00:00:00+10:00'}"), 4, "file.value", "offset"),
        ("name: x\nnoop: 5\n", 2, "file.form", "takes nothing"),
        ("name: x\nnoop: {a: b}\n", 2, "file.form", "takes nothing"),
        ("name: x\nnoop: []\n", 2, "file.form", "takes nothing"),
        ("name: x\nprocess: ls\n", 2, "file.form", "mapping"),
        ("name: x\nprocess: {command: ls -l}\n", 2, "file.form", "list"),
        ("name: x\ncontainer: {image: a, read_only: no}\n", 2, "file.value", "true or false"),
        ("name: x\ncontainer: {image: a, privileged: true}\n", 2, "file.unknown_key", "'privileged'"),
        ("tasks: 5\n", 1, "file.form", "list"),
        ("- name: x\n", 1, "file.form", "`tasks:`"),
        ("just text", 1, "file.form", "`tasks:`"),
        ("tasks:\n\t- name: x\n", 2, "file.yaml", "not YAML"),
        ("tasks: [\n", 2, "file.yaml", "not YAML"),
        (task() + "---\ntasks: []\n", 4, "file.yaml", "another document"),
        ("a: &a [x]\nb: *a\n", 1, "file.alias", "anchor"),
        ("a: !!python/object/apply:os.system [x]\n", 1, "file.tag", "tag"),
        ("[" * 17, 1, "file.deep", "nested"),
    ],
)
def test_a_mistake_is_told_with_its_line(text, line, code, said):
    first = refused(text)[0]
    assert (first.field, first.code) == (f"f.yaml:{line}", code)
    assert said in first.message


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "file.empty"), ("# nothing\n", "file.empty"), ("a: \0", "file.yaml"), ("#" * (1 << 20) + "#", "file.large")],
)
def test_a_file_that_holds_nothing_to_read_is_refused(text, code):
    [violation] = refused(text)
    assert (violation.field, violation.code) == ("f.yaml", code)


def test_every_mistake_is_told_at_once():
    found = refused(task("timout: 5m", "retries: no", "overlap: sometimes"))
    assert [violation.field for violation in found] == ["f.yaml:4", "f.yaml:5", "f.yaml:6"]


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]" for n in range(20)]
    assert refused("\n".join(lines))[0].code == "file.alias"


def test_text_that_is_long_or_unprintable_is_not_echoed():
    shown = refused(task(f"retries: {'9' * 5000}"))[0].message + refused(task(f"{'k' * 5000}: 1"))[0].message
    assert len(shown) < 1000


@pytest.mark.parametrize("count", [1000, 1001])
def test_a_thousand_tasks_are_the_most(count):
    text = "tasks:\n" + "".join(f"- {{name: t{n}, noop: {{}}}}\n" for n in range(count))
    if count == 1000:
        assert len(load_tasks(text, source="f.yaml")) == count
    else:
        assert refused(text)[0].code == "file.form"


@pytest.mark.parametrize("most", [2**31 - 1])
def test_the_largest_number_of_a_field_is_read(most):
    spec = load_task(task(f"retries: {most}"), source="f.yaml")
    assert TaskSpec.parse(bytes(spec)).policies == Policies(retries=most)


def test_the_examples_are_read_and_written_the_same():
    specs = load_tasks(EXAMPLES.read_text("utf-8"), source="tasks.yaml")
    assert len(specs) == 10
    assert load_tasks(dump_tasks(specs), source="again") == specs


def test_both_parsers_of_yaml_say_the_same(monkeypatch):
    texts = [EXAMPLES.read_text("utf-8"), task("description: |", "  a", "   b", ""), task('description: "\\u00e9\\n"')]
    texts += [task(f"labels: {{a: {value}}}") for value in ("", "~", "null", '"~"', "'null'", "1:30", "no", '""')]
    first = [load_tasks(text, source="f") for text in texts]
    monkeypatch.setattr(taskfile, "LOADER", yaml.SafeLoader)
    assert [load_tasks(text, source="f") for text in texts] == first


def test_a_folder_is_read_by_name_and_a_task_in_two_files_is_refused(tmp_path):
    (tmp_path / "b.yml").write_text("name: b\nnoop: {}\n")
    (tmp_path / "a.yaml").write_text("# first\nname: a\nnoop: {}\n")
    (tmp_path / "notes.txt").write_text("name: c\n")
    assert [spec.name for spec in read_files([tmp_path])] == ["a", "b"]
    assert [place for _, place in read_placed([tmp_path])] == [f"{tmp_path}/a.yaml:2", f"{tmp_path}/b.yml:1"]
    with pytest.raises(InvalidArgument) as caught:
        read_files([tmp_path / "a.yaml", tmp_path])
    [violation] = caught.value.violations
    assert (violation.field, violation.code) == (f"{tmp_path}/a.yaml:2", "task.twice")


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path):
    (tmp_path / "latin").write_bytes(b"name: \xe9\n")
    for file in (tmp_path / "nothing", tmp_path / "latin", tmp_path):
        with pytest.raises(InvalidArgument) as caught:
            read_files([file])
        assert caught.value.violations[0].field == str(file)


# What the server may hold. An empty message says as much as none, so it is left away.

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FILLED = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NAME = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True)
SPAN = st.timedeltas(timedelta(0), timedelta(days=36_500))
INT32 = st.integers(-(2**31) + 1, 2**31 - 1)
INSTANT = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))
PAIRS = st.dictionaries(FILLED, TEXT, max_size=3)
TEXTS = st.lists(TEXT, max_size=3)
SIZE = st.integers(0, 2**63 - 1)


def maybe(strategy):
    return st.none() | strategy


def rules(dialects):
    cron = st.builds(lambda e, d: Rule(cron=Cron(expression=e, dialect=d)), FILLED, dialects)
    every = st.builds(lambda p, f: Rule(every=Interval(period=p, phase=f)), SPAN, maybe(SPAN))
    at = st.builds(lambda t: Rule(at=OneShot(time=t)), FILLED)
    several = st.tuples(st.lists(cron, max_size=2), st.lists(every, max_size=2), st.lists(at, max_size=2))
    return several.map(lambda lists: [*lists[0], *lists[1], *lists[2]]).filter(bool)


DATES = st.builds(
    DateRange,
    first=st.sampled_from(["12-25", "2026-01-01"]),
    last=st.sampled_from(["", "12-31", "2026-02-01"]),
)
SCHEDULE = st.builds(
    Schedule,
    rules=rules(st.sampled_from(Dialect)),
    timezone=TEXT,
    jitter=maybe(SPAN),
    starts_at=maybe(INSTANT),
    ends_at=maybe(INSTANT),
    exclude=st.lists(DATES, max_size=2),
    max_runs=maybe(st.integers(0, 2**63 - 1)),
    dst_gap=st.sampled_from(GapPolicy),
    dst_fold=st.sampled_from(FoldPolicy),
)
KIND = st.one_of(
    st.builds(
        lambda **said: Kind(container=ContainerKind(**said)),
        image=TEXT,
        command=TEXTS,
        entrypoint=TEXTS,
        env=PAIRS,
        working_dir=TEXT,
        user=TEXT,
        pull=st.sampled_from(PullPolicy),
        network=TEXT,
        mounts=st.lists(st.builds(VolumeMount, volume=TEXT, target=TEXT, read_only=st.booleans()), max_size=2),
        read_only=st.booleans(),
        stop_signal=TEXT,
    ),
    st.builds(
        lambda **said: Kind(process=ProcessKind(**said)), command=TEXTS, env=PAIRS, working_dir=TEXT, stop_signal=TEXT
    ),
    st.builds(
        lambda **said: Kind(service=ServiceKind(**said)),
        copy_of=TEXT,
        image=TEXT,
        command=TEXTS,
        secrets=st.lists(st.builds(SwarmFile, name=NAME, target=TEXT), max_size=2),
        configs=st.lists(st.builds(SwarmFile, name=NAME, target=TEXT), max_size=2),
        networks=TEXTS,
    ),
    st.builds(
        lambda **said: Kind(exec=ExecKind(**said)),
        container=TEXT,
        service=TEXT,
        replicas=st.sampled_from(Replicas),
        command=TEXTS,
        env=PAIRS,
        working_dir=TEXT,
        user=TEXT,
    ),
    st.builds(
        lambda **said: Kind(http=HttpKind(**said)),
        url=TEXT,
        method=TEXT,
        headers=PAIRS,
        body=TEXT,
        expect=st.lists(INT32, max_size=3),
    ),
    st.just(Kind(noop=NoopKind())),
)
FACTOR = st.floats(allow_nan=False, allow_infinity=False)
POLICIES = st.builds(
    Policies,
    overlap=st.sampled_from(Overlap),
    max_parallel=maybe(INT32),
    group=TEXT,
    group_limit=maybe(INT32),
    queue_limit=maybe(INT32),
    catchup=st.sampled_from(Catchup),
    catchup_window=maybe(SPAN),
    catchup_max=maybe(INT32),
    start_deadline=maybe(SPAN),
    timeout=maybe(SPAN),
    stop_grace=maybe(SPAN),
    retries=maybe(INT32),
    backoff=maybe(
        st.builds(Backoff, initial=maybe(SPAN), factor=maybe(FACTOR), max=maybe(SPAN)).filter(lambda b: b != Backoff())
    ),
    retry_exit_codes=st.lists(INT32, max_size=3),
    on_node_loss=st.sampled_from(NodeLoss),
    node_loss_wait=maybe(SPAN),
    constraints=TEXTS,
    prefer=TEXTS,
    spread=TEXTS,
    node=st.sampled_from(NodeChoice),
    resources=maybe(
        st.builds(Resources, cpus=FACTOR.map(abs), memory=SIZE).filter(lambda resources: resources != Resources())
    ),
).filter(lambda policies: policies != Policies())
SPEC = st.builds(
    TaskSpec,
    name=NAME,
    description=TEXT,
    schedule=maybe(SCHEDULE),
    kind=maybe(KIND),
    policies=maybe(POLICIES),
    labels=PAIRS,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(SPEC, max_size=3, unique_by=lambda spec: spec.name))
def test_what_is_written_is_read_the_same(specs):
    assert load_tasks(dump_tasks(specs), source="f.yaml") == specs


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        load_tasks(text, source="f.yaml")
    except InvalidArgument as error:
        assert error.violations  # noqa: PT017 - either is right


KEYS = st.sampled_from(
    ["tasks", "name", "schedule", "cron", "every", "phase", "noop", "process", "env", "command", "retries", "exclude"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, ANY, max_size=4))
def test_any_document_is_read_or_refused(document):
    for text in (yaml.safe_dump(document), yaml.safe_dump({"tasks": [document]})):
        try:
            load_tasks(text, source="f.yaml")
        except InvalidArgument as error:
            assert error.violations  # noqa: PT017 - either is right
