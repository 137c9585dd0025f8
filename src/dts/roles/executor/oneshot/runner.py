"""Runs work as private one-shot services of the Swarm. Takes a manager: workers may not ask for services.

A service is created without a replica, and started by giving it one: that may be said twice and starts once. Plain
replicated mode with the restart condition `none`, because Swarm's job mode repeats finished work when another manager
becomes the leader (moby#53632).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from dts.docker.engine import Engine
from dts.docker.swarm import Swarm, SwarmService
from dts.domain.errors import Conflict, DtsError, InvalidArgument, NotFound, Unavailable
from dts.domain.node_policy import NodePolicy, service_denials
from dts.pb.dts.v1 import Reason, Resources, ServiceKind
from dts.roles.executor.container.config import ATTEMPT_LABEL, OWNER_LABEL, RUN_LABEL, deny, key_of, labels_of
from dts.roles.executor.container.images import Logins
from dts.roles.executor.oneshot.spec import name_of, service_kind, spec_of, wanted_files
from dts.roles.executor.oneshot.work import OneshotWork
from dts.roles.executor.work import Job, Refused, Work

log = logging.getLogger(__name__)

T = TypeVar("T")
Key = tuple[UUID, int]


class OneshotRunner:
    """Runs the kind `service`.

    Args:
        engine: of this node; it must be a manager.
        node: its name.
        owner: whose these services are: one word for this node of this installation.
        monotonic: seconds that never go back.
        policy: what this node lets services do.
        login: of a registry, by an image of it.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        node: str,
        owner: str,
        monotonic: Callable[[], float],
        policy: Callable[[], NodePolicy] = NodePolicy,
        login: Logins = lambda _image: None,
    ) -> None:
        self._login = login
        self._policy = policy
        self._engine = engine
        self._swarm = Swarm(engine)
        self._node = node
        self._owner = owner
        self._monotonic = monotonic
        self._held: set[Key] = set()
        self._left: set[str] = set()

    async def missing(self) -> str:
        """Why no service can be made here; empty if one can. Removes what could not be removed before."""
        try:
            membership = await self._engine.membership()
        except DtsError as error:
            return error.message
        if not membership.node_id:
            return "the engine is in no Swarm"
        if not membership.manager:
            return "this node is a worker of its Swarm, and only managers take services"
        for service in list(self._left):
            await self._remove(service)
        return ""

    async def prepare(self, job: Job) -> Work:
        """A service without a replica.

        Raises:
            Refused: the definition is wrong, what it names is not there, or the Swarm refuses.
        """
        kind = service_kind(job)
        self._held.add(job.key)
        try:
            await self._end_earlier(job)
            spec = await self._spec(job, kind)
            service = await self._created(job, spec)
        except BaseException:
            self._held.discard(job.key)
            raise
        return self._work(job, service, image=spec["TaskTemplate"]["ContainerSpec"]["Image"])

    async def find(self, jobs: Sequence[Job]) -> dict[Key, Work]:
        """Finds what an earlier incarnation started; removes what belongs to none of the jobs.

        Raises:
            DtsError: the engine does not answer.
        """
        membership = await self._engine.membership()
        if not membership.manager:
            if jobs and not membership.node_id:  # an engine that has just started may not be back in its Swarm yet
                raise Unavailable("the engine is in no Swarm")
            return {}
        wanted = {job.key: job for job in jobs}
        found: dict[Key, Work] = {}
        for service in await self._swarm.labelled(f"{OWNER_LABEL}={self._owner}"):
            key = key_of(service.labels)
            if key in wanted and service.replicas:
                self._held.add(wanted[key].key)
                found[wanted[key].key] = self._work(wanted[key], service.id, image=_image(service))
            elif key not in self._held:
                log.info("removing service %s: it belongs to no attempt", service.name)
                await self._remove(service.id)
        return found

    async def _end_earlier(self, job: Job) -> None:
        """An earlier attempt of the run may go on under a manager that is away: the Swarm lets us end it."""
        for service in await self._asked(self._swarm.labelled(f"{RUN_LABEL}={job.run_id}")):
            key = key_of(service.labels)
            if key is not None and key[1] < job.attempt:
                await self._remove(service.id)

    async def _spec(self, job: Job, kind: ServiceKind) -> dict[str, Any]:
        ids: dict[tuple[str, str], str] = {}
        for what, name in wanted_files(kind):
            ids[what, name] = await self._asked(self._swarm.id_of("secrets" if what == "secrets" else "configs", name))
        copied = await self._asked(self._swarm.service(kind.copy_of)) if kind.copy_of else None
        policy, wanted = self._policy(), job.spec.resources or Resources()
        spec = spec_of(
            job,
            kind,
            node=self._node,
            owner=self._owner,
            ids=ids,
            copied=copied.spec if copied else None,
            policy=policy,
        )
        # By name: the Swarm takes ids, of which no policy speaks.
        joined = [network["Target"] for network in spec["TaskTemplate"].get("Networks", ())]
        names = [await self._asked(self._engine.network_name(network)) for network in joined]
        name = copied.name if copied else ""
        deny(service_denials(policy, spec, wanted, networks=names, copied=name), self._node)
        container = spec["TaskTemplate"]["ContainerSpec"]
        container["Image"] = await self._settled(container["Image"], job.image_digest)
        return spec

    async def _settled(self, image: str, digest: str) -> str:
        """With a digest, as `docker service create` does: each node would resolve the tag for itself."""
        if "@" in image:
            return image
        try:
            return f"{image}@{digest or await self._swarm.digest(image, login=self._login(image))}"
        except DtsError as error:
            log.info("the digest of %s is not known, so each node resolves it for itself: %s", image, error)
            return image

    async def _created(self, job: Job, spec: Mapping[str, Any]) -> str:
        """Its id. Its name makes it safe to ask again (rule N)."""
        try:
            return await self._swarm.create(spec, login=self._login(spec["TaskTemplate"]["ContainerSpec"]["Image"]))
        except Conflict:
            known = await self._known(job)
            if known not in self._left:
                return known
            await self._remove(known)  # sooner or later it is removed, whoever lives in it
            if known in self._left:
                raise Refused(Reason.ENGINE_ERROR, "what was left of the attempt cannot be removed") from None
            return await self._created(job, spec)
        except InvalidArgument as error:
            words = error.violations[0].message
            raise Refused(Reason.INVALID, f"the Swarm refuses the definition: {words}", final=True) from error
        except DtsError as error:
            raise Refused(Reason.ENGINE_ERROR, f"the service could not be created: {error.message}") from error

    async def _known(self, job: Job) -> str:
        """The service that has the attempt's name.

        Raises:
            Refused: it is not the attempt's.
        """
        known = await self._asked(self._swarm.service(name_of(job.key)))
        expected = labels_of(job, self._owner)
        if any(known.labels.get(label) != expected[label] for label in (RUN_LABEL, ATTEMPT_LABEL, OWNER_LABEL)):
            raise Refused(Reason.ENGINE_ERROR, f"another service has the name {known.name} of this attempt")
        return known.id

    async def _asked(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except NotFound as error:
            raise Refused(Reason.INVALID, f"{error.message}") from error
        except DtsError as error:
            raise Refused(Reason.ENGINE_ERROR, f"the Swarm could not be asked: {error.message}") from error

    async def _remove(self, service: str) -> None:
        try:
            await self._swarm.remove(service)
        except NotFound:
            self._left.discard(service)
        except DtsError as error:
            log.warning("service %s cannot be removed: %s", service, error)
            self._left.add(service)
        else:
            self._left.discard(service)

    def _work(self, job: Job, service: str, *, image: str) -> OneshotWork:
        return OneshotWork(
            self._swarm,
            service,
            image=image,
            start_by=job.start_by,
            monotonic=self._monotonic,
            discarded=lambda removed: self._discarded(job.key, service, removed=removed),
        )

    def _discarded(self, key: Key, service: str, *, removed: bool) -> None:
        self._held.discard(key)
        if not removed:
            self._left.add(service)


def _image(service: SwarmService) -> str:
    template = service.spec.get("TaskTemplate") or {}
    return str((template.get("ContainerSpec") or {}).get("Image", ""))
