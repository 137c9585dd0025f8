"""Notices another executor that says it is the same node: each one's Hello ends the connection of the other."""

from __future__ import annotations

import logging

from dts.pb.dts.v1 import Node

log = logging.getLogger(__name__)

SHORT_SECONDS = 5.0
"""A connection that lasts no longer was ended by somebody."""

IN_A_ROW = 5
"""So many of them are no accident: a scheduler that stops ends one."""


class RivalWatch:
    """Looks at how long connections last, and says it once for each time that it begins."""

    def __init__(self) -> None:
        self._short = 0

    def ended(self, node: Node, *, seconds: float) -> None:
        """A connection that was welcomed is over. seconds: how long it lasted."""
        self._short = self._short + 1 if seconds < SHORT_SECONDS else 0
        if self._short == IN_A_ROW:
            log.error(
                "%d connections in a row were ended as soon as they began: another executor says that it is the node "
                "%s (%s), too. A node has one executor; the file node-id in DTS_DATA must not be a copy",
                IN_A_ROW,
                node.hostname,
                node.id,
            )
