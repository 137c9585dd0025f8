"""What becomes of due runs: the decision inside a claim.

The store locks a batch of pending runs, asks `decide`, and writes the answer in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from dts.domain.placement import Refusal, Room, choose, refusal
from dts.domain.verdicts import (
    Assign,
    Candidate,
    Defer,
    End,
    FanOut,
    Holder,
    Leave,
    MakeRoom,
    Place,
    Queue,
    Situation,
    Verdicts,
)
from dts.pb.dts.v1 import Overlap, Reason, RunState

PLACE_AGAIN = timedelta(seconds=1)
"""When a run that no node can take is looked at again."""

GROUP_AGAIN = timedelta(milliseconds=500)
"""When a run whose group is full is looked at again."""

ELDER_AGAIN = timedelta(milliseconds=50)
"""When a run that may not overtake an elder one, which somebody else is about to take, is looked at again."""


def decide(candidates: list[Candidate], situation: Situation) -> Verdicts:
    """One verdict for each candidate, the oldest first; a candidate that is not locked gets none."""
    verdicts = Verdicts()
    # A tick that was put off to its instant can be claimed at the same moment as the next one is ahead of its own.
    for candidate in sorted(candidates, key=lambda candidate: candidate.not_before):
        if not candidate.locked:
            _comes_first(candidate, situation.at_hand, situation)
        elif not _elder_first(candidate, situation, verdicts):
            _decide_one(candidate, situation, verdicts)
    return verdicts


def _elder_first(candidate: Candidate, situation: Situation, verdicts: Verdicts) -> bool:
    """Whether it comes after an elder run of its place, which is pending too; then it is put off.

    Ahead of its instant it overtakes none: it would hold the place at the instant of the elder one, and be what blocks
    it. From its instant on it gives way only to one that somebody is about to take.
    """
    elder_at = situation.elder_at(candidate)
    if elder_at is None or not candidate.waits_in_line or candidate.start_by <= situation.now:
        return False
    again = max(elder_at, situation.at_hand + ELDER_AGAIN)
    if candidate.not_before > situation.now and candidate.overlap is not Overlap.ALLOW:
        again = min(again, candidate.not_before + situation.lead)
    elif elder_at > situation.at_hand or (candidate.place in situation.elders and candidate.places > 1):
        return False
    verdicts.defer.append(Defer(candidate.run_id, again, ""))
    return True


def _comes_first(candidate: Candidate, claim_at: datetime, situation: Situation) -> None:
    """Nobody overtakes it in this claim, although it is not given to a node by it."""
    if candidate.waits_in_line:
        situation.elders.setdefault(candidate.place, claim_at)


def _decide_one(candidate: Candidate, situation: Situation, verdicts: Verdicts) -> None:
    if candidate.start_by <= situation.now:
        verdicts.end.append(expired(candidate, situation))
        return
    if candidate.need.every and not candidate.pinned and not candidate.last_node:
        _fan_out(candidate, situation, verdicts)
        return
    slot = _free_slot(candidate, situation.holders)
    if slot is None and candidate.overlap is not Overlap.ALLOW:
        _blocked(candidate, situation, verdicts)
        return
    group_slot = _free_group_slot(candidate, situation.groups)
    if group_slot is None and candidate.policies.group:
        message = f"group {candidate.policies.group} is full: {candidate.policies.group_limit} runs are live"
        _put_off(candidate, GROUP_AGAIN, message, situation, verdicts)
        return
    if there := _node_elsewhere(candidate, situation):
        _count(candidate, there, situation)
        verdicts.leave.append(Leave(candidate.run_id, there))
        _comes_first(candidate, situation.at_hand, situation)
        return
    room = _room(candidate, situation)
    if isinstance(room, Refusal):
        _put_off(candidate, PLACE_AGAIN, room.message, situation, verdicts)
        return
    room.take(candidate.need)
    _hold(candidate, slot, group_slot, situation)
    _count(candidate, room.node.id, situation)
    verdicts.assign.append(Assign(candidate, room.node.id, slot, group_slot))


def _fan_out(candidate: Candidate, situation: Situation, verdicts: Verdicts) -> None:
    """To the nodes that could take it now, whatever their room; each of the runs then waits for its own node."""
    nodes = [node for fleet in (situation.here, situation.elsewhere) for node in fleet.named(fleet.fit(candidate.need))]
    if nodes:
        verdicts.fan_out.append(FanOut(candidate.run_id, sorted(nodes, key=lambda node: node.id)))
        return
    words = refusal(candidate.need, situation.rooms, situation.elsewhere.nodes)
    _put_off(candidate, PLACE_AGAIN, words, situation, verdicts)


def _put_off(candidate: Candidate, pause: timedelta, message: str, situation: Situation, verdicts: Verdicts) -> None:
    """It is looked at again after the pause, for want of something that others of its task would want, too."""
    elder_at = situation.elder_at(candidate)
    # Together with an elder one that is put off, too: apart, whoever is looked at first would come first.
    again = elder_at if elder_at is not None and elder_at > situation.at_hand else situation.at_hand + pause
    verdicts.defer.append(Defer(candidate.run_id, again, message))
    _comes_first(candidate, again, situation)


def _count(candidate: Candidate, node_id: str, situation: Situation) -> None:
    """Later candidates of the batch keep away from where this one goes."""
    if candidate.need.spread:
        live = situation.live.setdefault(candidate.task_id, {})
        live[node_id] = live.get(node_id, 0) + 1


def _room(candidate: Candidate, situation: Situation) -> Room | Refusal:
    return choose(
        candidate.need,
        _rooms(candidate, situation),
        avoid=candidate.last_node,
        turn=candidate.run_id.int,
        crowd=situation.crowd(candidate.task_id),
        others=[node for node in situation.elsewhere.nodes if candidate.pinned in {"", node.id}],
    )


def _rooms(candidate: Candidate, situation: Situation) -> list[Room]:
    return [room for room in situation.rooms if candidate.pinned in {"", room.node.id}]


def _node_elsewhere(candidate: Candidate, situation: Situation) -> str | None:
    """The node of another replica that shall have it; None if it is for one of ours.

    Each replica sees only its own nodes, and the first to look would take everything: the run's id, which is as good
    as chance, says which of all nodes it is for. Left to another once, a run stays with whoever takes it up next.
    """
    if candidate.pinned or candidate.meant_for is not None or not situation.elsewhere.nodes:
        return None
    need, number = candidate.need, candidate.run_id.int
    there = situation.elsewhere.fit(need)
    if candidate.last_node in there:
        there = [node for node in there if node != candidate.last_node]
    if not there:
        return None
    here, there = _most_liked(candidate, situation, situation.here.fit(need), there)
    ours = number % (len(here) + len(there)) < len(here)
    if not there or (ours and isinstance(_room(candidate, situation), Room)):
        return None
    return there[number % len(there)]


def _most_liked(
    candidate: Candidate, situation: Situation, here: list[str], there: list[str]
) -> tuple[list[str], list[str]]:
    """Of nodes here and elsewhere those that the task likes best, all where it does not care."""
    need = candidate.need
    if not (need.prefer or need.spread):
        return here, there
    crowd = situation.crowd(candidate.task_id)
    known = [*situation.here.named(here), *situation.elsewhere.named(there)]
    merits = {node.id: crowd.merit(need, node) for node in known}
    best = max(merits.values())
    return [node for node in here if merits[node] == best], [node for node in there if merits[node] == best]


def expired(candidate: Candidate, situation: Situation) -> End:
    """A run that could not start before its start deadline."""
    room = _room(candidate, situation)
    if isinstance(room, Refusal):
        message = f"no node took it before its start deadline: {room.message}"
        return End(candidate.run_id, RunState.FAILED, Reason.NO_NODE, message)
    message = "it could not start before its start deadline"
    return End(candidate.run_id, RunState.FAILED, Reason.START_DEADLINE, message)


def _free_slot(candidate: Candidate, holders: Mapping[Place, list[Holder]]) -> int | None:
    """The place it holds, or the lowest free one; None if there is none or none is needed."""
    if candidate.slot is not None or candidate.overlap is Overlap.ALLOW:
        return candidate.slot
    taken = {holder.slot for holder in holders.get(candidate.place, ())}
    return next((slot for slot in range(candidate.policies.max_parallel) if slot not in taken), None)


def _free_group_slot(candidate: Candidate, groups: Mapping[str, set[int]]) -> int | None:
    if candidate.group_slot is not None or not candidate.policies.group:
        return candidate.group_slot
    taken = groups.get(candidate.policies.group, set())
    return next((slot for slot in range(candidate.policies.group_limit) if slot not in taken), None)


def _hold(candidate: Candidate, slot: int | None, group_slot: int | None, situation: Situation) -> None:
    """Later candidates of the batch must see the places as taken."""
    if slot is not None and candidate.slot is None:
        holder = Holder(candidate.run_id, slot, RunState.ASSIGNED, recalled=False)
        situation.holders.setdefault(candidate.place, []).append(holder)
    if group_slot is not None:
        situation.groups.setdefault(candidate.policies.group, set()).add(group_slot)


def _blocked(candidate: Candidate, situation: Situation, verdicts: Verdicts) -> None:
    """Earlier runs fill the task's places."""
    holders = situation.holders[candidate.place]
    blocker = holders[0].run_id
    if candidate.not_before > situation.now:
        # Who blocks now may be gone by then: a claim takes it up again at its instant, not ahead of it.
        verdicts.defer.append(Defer(candidate.run_id, candidate.not_before + situation.lead, "", blocker))
        return
    queue = situation.queues.setdefault(candidate.place, Queue())
    match candidate.overlap:
        case Overlap.QUEUE_ONE if queue.length == 0:
            _wait(candidate, blocker, queue, verdicts)
        case Overlap.QUEUE_ALL if candidate.from_backfill or queue.length < candidate.policies.queue_limit:
            _wait(candidate, blocker, queue, verdicts)
        case Overlap.QUEUE_ALL:
            message = f"{queue.length} runs wait already, as many as queue_limit allows"
            verdicts.end.append(_skip(candidate, Reason.QUEUE_FULL, message, blocker))
        case Overlap.CANCEL_OTHER | Overlap.TERMINATE_OTHER:
            _replace(candidate, holders, queue, verdicts)
        case Overlap.QUEUE_ONE:
            message = f"run {short(blocker)} was not over and another run waited already"
            verdicts.end.append(_skip(candidate, Reason.SKIPPED_OVERLAP, message, blocker))
        case _:
            message = f"run {short(blocker)} was not over"
            verdicts.end.append(_skip(candidate, Reason.SKIPPED_OVERLAP, message, blocker))


def _wait(candidate: Candidate, blocker: UUID, queue: Queue, verdicts: Verdicts) -> None:
    queue.length += 1
    queue.newest = candidate.run_id
    verdicts.defer.append(Defer(candidate.run_id, None, f"waits for run {short(blocker)} to end", blocker))


def _replace(candidate: Candidate, holders: list[Holder], queue: Queue, verdicts: Verdicts) -> None:
    """The newest run takes the place: the live ones are stopped, an earlier one that waits is given up."""
    if queue.newest is not None:
        message = f"run {short(candidate.run_id)} came before it could start"
        verdicts.end.append(End(queue.newest, RunState.SKIPPED, Reason.REPLACED, message, blocked_by=candidate.run_id))
        queue.length = 0
    kill = candidate.overlap is Overlap.TERMINATE_OTHER
    verdicts.make_room.extend(MakeRoom(holder.run_id, kill) for holder in holders if not holder.recalled)
    _wait(candidate, holders[0].run_id, queue, verdicts)


def _skip(candidate: Candidate, reason: Reason, message: str, blocker: UUID) -> End:
    return End(candidate.run_id, RunState.SKIPPED, reason, message, blocker)


def short(run_id: UUID) -> str:
    """The beginning of a run's id that tables show."""
    return run_id.hex[:8]
