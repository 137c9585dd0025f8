"""The store: its aggregates on one pool, built once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from dts.store.channels import ChannelStore
from dts.store.claims import ClaimStore
from dts.store.definitions import Definitions
from dts.store.history import HistoryStore
from dts.store.ledger import LedgerStore
from dts.store.logs import LogStore
from dts.store.nodes import NodeStore
from dts.store.notices import NoticeStore
from dts.store.results import ResultStore
from dts.store.runs import RunStore
from dts.store.tasks import TaskStore
from dts.store.tokens import TokenStore
from dts.store.upkeep import UpkeepStore
from dts.store.wakeups import Wakeups


@dataclass(frozen=True, slots=True)
class Store:
    """Every aggregate."""

    tasks: TaskStore
    ledger: LedgerStore
    claims: ClaimStore
    results: ResultStore
    runs: RunStore
    history: HistoryStore
    logs: LogStore
    nodes: NodeStore
    tokens: TokenStore
    channels: ChannelStore
    notices: NoticeStore
    upkeep: UpkeepStore
    wakeups: Wakeups

    @classmethod
    def on(cls, pool: asyncpg.Pool, *, rand: Callable[[], float], monotonic: Callable[[], float]) -> Store:
        """The aggregates on a pool. rand: in [0, 1), for the jitter of back-off. monotonic: seconds."""
        definitions = Definitions()
        wakeups = Wakeups(pool)
        return cls(
            tasks=TaskStore(pool, definitions, wakeups),
            ledger=LedgerStore(pool, definitions, monotonic),
            claims=ClaimStore(pool, definitions, wakeups),
            results=ResultStore(pool, definitions, wakeups, rand),
            runs=RunStore(pool, definitions, wakeups),
            history=HistoryStore(pool),
            logs=LogStore(pool, wakeups),
            nodes=NodeStore(pool, definitions, wakeups),
            tokens=TokenStore(pool),
            channels=ChannelStore(pool),
            notices=NoticeStore(pool),
            upkeep=UpkeepStore(pool, definitions, wakeups, rand),
            wakeups=wakeups,
        )
