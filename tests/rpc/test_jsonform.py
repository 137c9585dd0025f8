"""JSON of messages: every field of every public message, and what is told about what is wrong."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import (
    ApplyTasksRequest,
    ContainerKind,
    CreateTaskRequest,
    CreateTaskResponse,
    GetTaskResponse,
    Kind,
    Run,
    RunState,
    Schedule,
    TailLogsResponse,
    Task,
    TaskSpec,
    WatchRunResponse,
)
from dts.pb.dts.v1 import LogChunk as Chunk
from dts.roles.gateway.connect import public_routes
from dts.rpc.descriptors import descriptor_pool
from dts.rpc.json_faults import DEEPEST, MOST
from dts.rpc.jsonform import JsonForm

TASKS = "/dts.v1.TaskDefinitionService/"
CREATE = TASKS + "CreateTask"
POOL = descriptor_pool()
FORM = JsonForm()


def message_of(route, side):
    service, method = route[1:].split("/")
    described = POOL.FindServiceByName(service).methods_by_name[method]
    return GetMessageClass(getattr(described, side))


def filled(kind, depth=3):
    """A message with something in every field, down to a depth."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name["value"]
            if entry.message_type is None:
                getattr(message, field.name)["k"] = scalar(entry)
        elif field.message_type and field.is_repeated and depth:
            getattr(message, field.name).add().CopyFrom(filled(GetMessageClass(field.message_type), depth - 1))
        elif field.message_type and not field.is_repeated and depth:
            getattr(message, field.name).CopyFrom(filled(GetMessageClass(field.message_type), depth - 1))
        elif field.message_type is None and field.is_repeated:
            getattr(message, field.name).append(scalar(field))
        elif field.message_type is None:
            setattr(message, field.name, scalar(field))
    return message


def scalar(field):
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {
        field.TYPE_STRING: "é\0\n",
        field.TYPE_BYTES: b"\xff\0",
        field.TYPE_BOOL: True,
        field.TYPE_DOUBLE: 1.5,
        field.TYPE_FLOAT: 1.5,
    }.get(field.type, 7)


@pytest.mark.parametrize("route", sorted(public_routes()))
def test_every_request_and_answer_goes_to_json_and_back_as_googles_own(route):
    asked, told = filled(message_of(route, "input_type")), filled(message_of(route, "output_type"))
    for names in (True, False):
        text = json_format.MessageToJson(asked, preserving_proto_field_name=names, descriptor_pool=POOL)
        again = message_of(route, "input_type").FromString(FORM.request(route, text.encode()))
        assert again == asked
    text = FORM.answer(route, told.SerializeToString())
    assert "\n" not in text
    assert json_format.Parse(text, message_of(route, "output_type")(), descriptor_pool=POOL) == told
    assert json.loads(text) == json_format.MessageToDict(told, descriptor_pool=POOL)


def test_whole_numbers_of_64_bits_are_text_and_taken_as_either():
    text = FORM.answer(CREATE, bytes(CreateTaskResponse(task=Task(version=2**63 - 1))))
    assert text == '{"task": {"version": "9223372036854775807"}}'
    update = TASKS + "UpdateTask"
    assert FORM.request(update, b'{"expectedVersion": "7"}') == FORM.request(update, b'{"expected_version": 7}')


def test_moments_durations_enums_and_bytes():
    moment = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
    answer = WatchRunResponse(run=Run(state=RunState.SUCCEEDED, scheduled_at=moment))
    told = json.loads(FORM.answer("/dts.v1.SchedulerService/WatchRun", bytes(answer)))
    assert told == {"run": {"state": "RUN_STATE_SUCCEEDED", "scheduledAt": "2026-11-23T12:00:00.123456Z"}}
    answer = TailLogsResponse(chunks=[Chunk(content=b"\xff\xfe")])
    assert '"content": "//4="' in FORM.answer("/dts.v1.SchedulerService/TailLogs", bytes(answer))
    spec = TaskSpec(schedule=Schedule(jitter=timedelta(milliseconds=1500)))
    told = json.loads(FORM.answer(TASKS + "GetTask", bytes(GetTaskResponse(task=Task(spec=spec)))))
    assert told["task"]["spec"]["schedule"]["jitter"] == "1.500s"


@pytest.mark.parametrize("text", ["1.5s", "1.500s", "1.500000000s"])
def test_a_duration_is_read_in_each_of_its_lengths(text):
    data = FORM.request(CREATE, json.dumps({"spec": {"schedule": {"jitter": text}}}).encode())
    assert CreateTaskRequest.parse(data).spec.schedule.jitter == timedelta(seconds=1.5)


@pytest.mark.parametrize(
    "text", ["2026-11-23T12:00:00Z", "2026-11-23T13:00:00+01:00", "2026-11-23T12:00:00.000000000Z"]
)
def test_a_moment_is_read_with_any_offset(text):
    data = FORM.request(CREATE, json.dumps({"spec": {"schedule": {"startsAt": text}}}).encode())
    assert CreateTaskRequest.parse(data).spec.schedule.starts_at == datetime(2026, 11, 23, 12, tzinfo=UTC)


def told(document, route=CREATE):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidArgument) as caught:
        FORM.request(route, text)
    return [(violation.field, violation.code) for violation in caught.value.violations]


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"foo": 1}, [("spec.foo", "json.unknown")]),
        ({"foo": 1, "schedule": {"bar": 2}}, [("spec.foo", "json.unknown"), ("spec.schedule.bar", "json.unknown")]),
        ({"name": 1}, [("spec.name", "json.type")]),
        ({"name": "\ud800"}, [("spec.name", "json.type")]),
        ({"schedule": "daily"}, [("spec.schedule", "json.type")]),
        ({"schedule": {"rules": {}}}, [("spec.schedule.rules", "json.type")]),
        ({"schedule": {"rules": [{}, {"x": 1}]}}, [("spec.schedule.rules[1].x", "json.unknown")]),
        ({"schedule": {"jitter": "1.5x"}}, [("spec.schedule.jitter", "json.type")]),
        ({"schedule": {"jitter": 5}}, [("spec.schedule.jitter", "json.type")]),
        ({"schedule": {"startsAt": "2026-02-30T00:00:00Z"}}, [("spec.schedule.starts_at", "json.type")]),
        ({"schedule": {"starts_at": "0000-01-01T00:00:00Z"}}, [("spec.schedule.starts_at", "json.type")]),
        ({"schedule": {"maxRuns": 2**63}}, [("spec.schedule.max_runs", "json.type")]),
        ({"schedule": {"maxRuns": 1.5}}, [("spec.schedule.max_runs", "json.type")]),
        ({"policies": {"overlap": "NO"}}, [("spec.policies.overlap", "json.type")]),
        ({"policies": {"overlap": "SKIP"}}, [("spec.policies.overlap", "json.type")]),
        ({"labels": {"a": 1}}, [("spec.labels", "json.type")]),
        ({"labels": []}, [("spec.labels", "json.type")]),
        ({"kind": {"noop": {}, "container": {}}}, [("spec.kind.container", "json.oneof")]),
        ({"kind": {"container": {"command": "echo"}}}, [("spec.kind.container.command", "json.type")]),
        ({"kind": {"container": {"readOnly": 1, "read_only": True}}}, None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(spec, found):
    wrong = told({"spec": spec})
    if found is None:
        assert ("spec.kind.container.read_only", "json.twice") in wrong
    else:
        assert wrong == found


def test_a_sentence_says_what_is_expected_and_echoes_no_more_than_is_short():
    with pytest.raises(InvalidArgument) as caught:
        FORM.request(CREATE, b'{"spec": {"policies": {"overlap": "NO"}}}')
    assert "OVERLAP" in caught.value.message
    assert "it is 'NO'" in caught.value.message
    with pytest.raises(InvalidArgument) as caught:
        FORM.request(CREATE, json.dumps({"spec": {"schedule": {"jitter": "x" * 1000}}, "y" * 1000: 1}).encode())
    assert "x" * 65 not in caught.value.message
    assert "y" * 65 not in caught.value.message


def test_faults_are_told_up_to_a_number():
    assert len(told({f"x{n}": 1 for n in range(1000)})) == MOST


def test_what_is_nested_deeply_is_refused():
    assert told(b"[" * 100_000) == [("message", "message.malformed")]
    assert told(b'{"spec":' * (DEEPEST * 3) + b"1" + b"}" * (DEEPEST * 3))[0][0] == "spec.spec"


_FIELDS = [
    *POOL.FindMessageTypeByName("dts.v1.Policies").fields,
    *POOL.FindMessageTypeByName("dts.v1.Schedule").fields,
    *POOL.FindMessageTypeByName("dts.v1.Kind").fields,
    *POOL.FindMessageTypeByName("dts.v1.ContainerKind").fields,
]


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([field.name for field in _FIELDS]) | st.text(max_size=3), inner, max_size=4
            )
        ),
        max_leaves=20,
    )
)
def test_any_document_is_either_taken_or_refused_by_fields(document):
    text = json.dumps({"specs": [{"kind": document, "policies": document, "schedule": document}]}).encode()
    try:
        data = FORM.request(TASKS + "ApplyTasks", text)
    except InvalidArgument as error:
        told = len(error.violations)
    else:
        told = 1
        ApplyTasksRequest.parse(data)
    assert 1 <= told <= MOST


# -- why betterproto2's own JSON is not used (docs/decisions/0015)


def test_betterproto2_takes_what_proto3_json_refuses():
    """The day this fails, look again whether its JSON is good enough."""
    assert TaskSpec.from_dict({"name": 1}).name == 1
    both = Kind.from_dict({"noop": {}, "process": {}})
    assert both.noop is not None
    assert both.process is not None
    assert ContainerKind.from_dict({"readOnly": "no"}).read_only == "no"
