"""Definitions by (task, version), read once and kept: a version never changes."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable
from uuid import UUID

from dts.domain.definition import Definition, compile_definition
from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import TaskSpec
from dts.store.pool import Connection
from dts.store.queries import sql

Key = tuple[UUID, int]

log = logging.getLogger(__name__)

KEPT = 20_000
"""How many definitions are kept; the least recently used ones go first."""


class Definitions:
    """A bounded cache in front of table task_version."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._known: OrderedDict[Key, Definition] = OrderedDict()

    async def get(self, connection: Connection, keys: Collection[Key]) -> dict[Key, Definition]:
        """The definitions of these versions; those that cannot be compiled (any more) are absent."""
        missing = [key for key in set(keys) if key not in self._known]
        if missing:
            await self._read(connection, missing)
        found: dict[Key, Definition] = {}
        for key in keys:
            definition = self._known.get(key)
            if definition is not None:
                self._known.move_to_end(key)
                found[key] = definition
        return found

    async def _read(self, connection: Connection, keys: Iterable[Key]) -> None:
        task_ids, versions = zip(*keys, strict=True)
        for row in await connection.fetch(sql("specs_of"), task_ids, versions):
            try:
                self._keep(compile_definition(row["task_id"], row["version"], TaskSpec.parse(row["spec"])))
            except InvalidArgument as error:
                # One task that cannot be read any more must not stop the others.
                log.error("task %s version %s cannot be read: %s", row["task_id"], row["version"], error)  # noqa: TRY400 - the sentence says it all

    def _keep(self, definition: Definition) -> None:
        self._known[(definition.task_id, definition.version)] = definition
        if len(self._known) > self._kept:
            self._known.popitem(last=False)
