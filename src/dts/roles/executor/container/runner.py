"""Runs containers through the engine of this node. They survive the executor, and its next incarnation finds them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from dts.docker.engine import Engine
from dts.docker.values import Container
from dts.domain.errors import Conflict, DeadlineExceeded, DtsError, InvalidArgument, NotFound, Unavailable
from dts.domain.image import whole_name
from dts.domain.node_policy import SAFE_NETWORKS, NodePolicy
from dts.pb.dts.v1 import ContainerKind, Reason
from dts.roles.executor.container.config import (
    ATTEMPT_LABEL,
    OWNER_LABEL,
    RUN_LABEL,
    config_of,
    container_kind,
    key_of,
    labels_of,
    name_of,
)
from dts.roles.executor.container.end import Vigil
from dts.roles.executor.container.images import FIRST_PAUSE, Images, Logins, digest_of
from dts.roles.executor.container.work import ContainerWork
from dts.roles.executor.work import Job, Refused, Work

log = logging.getLogger(__name__)

CREATE_TRIES = 3
RETRY_SECONDS = 0.5

Key = tuple[UUID, int]


class ContainerRunner:
    """Runs the kind `container`.

    Args:
        engine: of this node.
        node: its name.
        owner: whose containers these are: one word for this node of this installation. Those of others are left alone.
        now: the wall clock; compared with the engine's.
        rand: from 0 to 1, for jitter.
        policy: what this node lets containers do.
        login: of a registry, by an image of it.
        pull_pause: seconds before a pull that failed is tried again; doubled each time.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        node: str,
        owner: str,
        now: Callable[[], datetime],
        rand: Callable[[], float],
        policy: Callable[[], NodePolicy] = NodePolicy,
        login: Logins = lambda _image: None,
        pull_pause: float = FIRST_PAUSE,
    ) -> None:
        self._engine = engine
        self._node = node
        self._owner = owner
        self._now = now
        self._policy = policy
        self._images = Images(engine, rand=rand, login=login, first_pause=pull_pause)
        self._held: set[Key] = set()
        self._left: set[str] = set()
        self._removing: set[str] = set()

    async def missing(self) -> str:
        """Why no container can run here; empty if one can. Removes what could not be removed before."""
        missing = await self._engine.missing()
        if not missing and self._left:
            await asyncio.gather(*(self._remove(container) for container in list(self._left)))
        return missing

    async def prepare(self, job: Job) -> Work:
        """Image, container, and an open ear for its end.

        Raises:
            Refused: the definition is wrong, the image cannot be had, or the engine refuses.
        """
        kind = await self._network_named(container_kind(job))
        config = config_of(job, kind, node=self._node, owner=self._owner, policy=self._policy())
        self._held.add(job.key)
        try:
            image, digest = await self._images.resolved(kind.image, kind.pull, settled=job.image_digest)
            container, created = await self._create(job, config | {"Image": whole_name(image)})
        except BaseException:
            self._held.discard(job.key)
            raise
        work = self._work(job.key, container, digest=digest, created=created)
        try:
            await work.listen()
        except BaseException:  # nobody else knows of it
            await work.discard()
            raise
        return work

    async def _network_named(self, kind: ContainerKind) -> ContainerKind:
        """With the name of its network: an engine takes ids and beginnings of them, of which no policy speaks."""
        if kind.network in SAFE_NETWORKS or kind.network == "host" or ":" in kind.network:
            return kind
        try:
            return replace(kind, network=await self._engine.network_name(kind.network))
        except NotFound as error:
            raise Refused(Reason.ENGINE_ERROR, f"there is no network {kind.network} on the node") from error
        except DtsError as error:
            raise Refused(Reason.ENGINE_ERROR, f"the network could not be looked up: {error.message}") from error

    async def find(self, jobs: Sequence[Job]) -> dict[Key, Work]:
        """Finds what an earlier incarnation started; kills and removes what belongs to none of the jobs.

        Raises:
            DtsError: the engine does not answer.
        """
        wanted = {job.key: job for job in jobs}
        listed = await self._engine.labelled(OWNER_LABEL, self._owner)
        found: dict[Key, Work] = {}
        strays: list[str] = []
        for key, container in ((key_of(one.labels), one.id) for one in listed):
            work = await self._adopt(wanted[key], container) if key in wanted else None
            if key is not None and work is not None:
                found[key] = work
            elif key not in self._held:
                strays.append(container)
        self._removing.update(strays)
        await asyncio.gather(*(self._remove(stray) for stray in strays))
        return found

    # -- creating

    async def _create(self, job: Job, config: Mapping[str, Any]) -> tuple[str, bool]:
        """The container's id, and whether it is certainly new. Its name makes it safe to ask again (rule N)."""
        for left in reversed(range(CREATE_TRIES)):
            try:
                return await self._engine.create(name_of(job.key), config), True
            except Conflict:
                if (known := await self._known(job)) is not None:
                    return known, False
            except (Unavailable, DeadlineExceeded) as error:
                if not left:
                    raise _refused(f"the container could not be created: {error.message}") from error
            except DtsError as error:
                raise _create_refused(error) from error
            await asyncio.sleep(RETRY_SECONDS)
        raise _refused(f"the container could not be created: its name {name_of(job.key)} is taken")

    async def _known(self, job: Job) -> str | None:
        """The container that has the attempt's name; None if it is going away.

        Raises:
            Refused: it is not the attempt's.
        """
        try:
            seen = await self._engine.inspect(name_of(job.key))
        except (NotFound, Unavailable, DeadlineExceeded):
            return None
        expected = labels_of(job, self._owner)
        if any(seen.labels.get(name) != expected[name] for name in (RUN_LABEL, ATTEMPT_LABEL, OWNER_LABEL)):
            raise _refused(f"another container has the name {seen.name} of this attempt")
        if seen.id in self._left:  # sooner or later it is removed, whoever lives in it
            await self._remove(seen.id)
            return None
        return None if seen.id in self._removing else seen.id

    # -- finding

    async def _adopt(self, job: Job, container: str) -> ContainerWork | None:
        """A container that was started; None if it never was, and then it is gone, so that it never will be."""
        try:
            seen = await self._engine.inspect(container)
            if seen.unstarted:
                await self._engine.remove(container, force=False)
                return None
        except NotFound:
            return None
        except Conflict:  # it was just being started
            seen = await self._engine.inspect(container)
        self._held.add(job.key)
        return self._work(job.key, container, digest=await self._digest(job, seen), created=False)

    async def _digest(self, job: Job, seen: Container) -> str:
        """The digest of the image that a container has; its id if the image is gone by now."""
        try:
            return digest_of(container_kind(job).image, await self._engine.image(seen.image))
        except (DtsError, Refused):
            return seen.image

    # -- removing

    async def _remove(self, container: str) -> None:
        log.info("removing container %s: it belongs to no attempt", container[:12])
        try:
            await self._engine.remove(container, force=True)
        except NotFound:
            self._left.discard(container)
        except Conflict:  # it is being removed: until it is gone, nobody takes it for living
            self._left.add(container)
        except DtsError as error:
            log.warning("container %s cannot be removed: %s", container[:12], error)
            self._left.add(container)
        else:
            self._left.discard(container)
        finally:
            self._removing.discard(container)

    def _work(self, key: Key, container: str, *, digest: str, created: bool) -> ContainerWork:
        return ContainerWork(
            self._engine,
            container,
            image_digest=digest,
            vigil=Vigil(self._engine, container, now=self._now),
            created=created,
            discarded=lambda removed: self._discarded(key, container, removed=removed),
        )

    def _discarded(self, key: Key, container: str, *, removed: bool) -> None:
        self._held.discard(key)
        if not removed:
            self._left.add(container)


def _create_refused(error: DtsError) -> Refused:
    """What the engine says of a container that it cannot create."""
    sentence = f"the container could not be created: {error.message}"
    match error:
        case NotFound():  # the image was removed after it was looked at
            return Refused(Reason.IMAGE_PULL, sentence)
        case InvalidArgument():
            words = error.violations[0].message
            return Refused(Reason.INVALID, f"the engine refuses the definition: {words}", final=True)
        case _:
            return _refused(sentence)


def _refused(sentence: str) -> Refused:
    return Refused(Reason.ENGINE_ERROR, sentence)
