"""Task files: YAML in, definitions out, and back. Every mistake is told with file and line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from dts.domain.errors import InvalidArgument
from dts.domain.kinds import KINDS
from dts.domain.taskfile_read import read_spec
from dts.domain.taskfile_values import Place, Problems
from dts.domain.taskfile_write import spec_document
from dts.pb.dts.v1 import TaskSpec

KEYS = {"name", "schedule", *KINDS}
"""A file without `tasks:` that has one of them is one task."""
LARGEST = 1 << 20
DEEPEST = 16
TASKS = 1000
LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where PyYAML has it: ten times as fast."""


def load_tasks(text: str, *, source: str) -> list[TaskSpec]:
    """Reads a file with `tasks:`, or with one task.

    Args:
        text: of the file.
        source: its name, for messages.

    Raises:
        InvalidArgument: with a violation, `file:line`, for each mistake.
    """
    return [spec for spec, _ in load_placed_tasks(text, source=source)]


def load_placed_tasks(text: str, *, source: str) -> list[tuple[TaskSpec, str]]:
    """As `load_tasks`, each with the `file:line` at which it begins.

    Raises:
        InvalidArgument: as `load_tasks`.
    """
    root = _compose(text, source)
    problems = Problems(source)
    specs = _specs(root, problems)
    names: dict[str, int] = {}
    for spec, place in specs:
        if spec.name and spec.name in names:
            problems.add(place, "task.twice", f"task {spec.name} stands in line {names[spec.name]} already")
        names.setdefault(spec.name, place.line)
    if problems.found:
        raise InvalidArgument(problems.found)
    return [(spec, f"{source}:{place.line}") for spec, place in specs]


def load_task(text: str, *, source: str) -> TaskSpec:
    """Reads a file with exactly one task.

    Raises:
        InvalidArgument: as `load_tasks`, or there are several.
    """
    specs = load_tasks(text, source=source)
    if len(specs) != 1:
        raise InvalidArgument.of(source, "task.one", f"holds {len(specs)} tasks; exactly one is expected")
    return specs[0]


def dump_tasks(specs: Sequence[TaskSpec]) -> str:
    """Writes definitions so that `load_tasks` reads the same."""
    return dump_document({"tasks": [spec_document(spec) for spec in specs]})


def dump_document(document: dict[str, Any]) -> str:
    """Writes YAML as people would."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def _compose(text: str, source: str) -> yaml.Node:
    if len(text) > LARGEST:
        raise InvalidArgument.of(source, "file.large", f"is larger than {LARGEST >> 20} MiB")
    try:
        _refuse_cleverness(text, source)
        root = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidArgument.of(f"{source}:{line}", "file.yaml", f"is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise InvalidArgument.of(source, "file.yaml", "holds characters that YAML does not allow") from error
    if root is None:
        raise InvalidArgument.of(source, "file.empty", "is empty; it begins with `tasks:`")
    return root


def _refuse_cleverness(text: str, source: str) -> None:
    """Aliases let a small file grow without bounds, tags make objects: a task file needs neither."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InvalidArgument.of(f"{source}:{line}", "file.alias", "has an anchor or alias; write it out")
        if getattr(event, "tag", None):
            raise InvalidArgument.of(f"{source}:{line}", "file.tag", "has a tag; plain values are enough")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise InvalidArgument.of(f"{source}:{line}", "file.deep", f"is nested deeper than {DEEPEST}")


def _specs(root: yaml.Node, problems: Problems) -> list[tuple[TaskSpec, Place]]:
    place = Place(root, "")
    if not isinstance(root, yaml.MappingNode):
        problems.add(place, "file.form", "the file is a mapping that begins with `tasks:`")
        return []
    keys = {key.value: value for key, value in root.value if isinstance(key, yaml.ScalarNode)}
    if "tasks" not in keys and not keys.keys() & KEYS:
        problems.mapping(place, {"tasks": lambda _: None})  # a slip such as `task:` is told with what was meant
        return []
    if "tasks" not in keys:
        return [(read_spec(place, problems), place)]
    known: dict[str, Callable[[Place], None]] = {"tasks": lambda _: None}
    problems.mapping(place, known)
    tasks = keys["tasks"]
    if not isinstance(tasks, yaml.SequenceNode) or len(tasks.value) > TASKS:
        problems.add(Place(tasks, "tasks"), "file.form", f"tasks is a list of at most {TASKS}: each begins with a dash")
        return []
    places = [Place(node, f"tasks[{number}]") for number, node in enumerate(tasks.value)]
    return [(read_spec(each, problems), each) for each in places]


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line, text of several lines as a block."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text and not text.startswith((" ", "\n")) and text.isascii() else None
    if not text.replace("\n", "").isprintable():
        style = '"'  # PyYAML takes U+0085, U+2028 and the like for ends of lines, which come back as spaces
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    flow = all(isinstance(item, str | int) and "\n" not in str(item) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
