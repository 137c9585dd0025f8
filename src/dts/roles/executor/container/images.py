"""The image of a container: pulled by policy, once for all who want it, with patience for registries that are down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dts.docker.engine import Engine
from dts.docker.values import Image
from dts.domain.errors import DtsError, FailedPrecondition, NotFound, Unavailable
from dts.pb.dts.v1 import PullPolicy, Reason
from dts.roles.executor.keyring import Login
from dts.roles.executor.work import Refused

TRIES = 4
FIRST_PAUSE = 1.0


log = logging.getLogger(__name__)

Logins = Callable[[str], Login | None]


class _Unknown(Exception):
    """Neither the node nor a registry has the image."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Images:
    """The images of one engine.

    Args:
        engine: which.
        rand: from 0 to 1, for jitter.
        login: of a registry, by an image of it.
        first_pause: seconds before a pull is tried again; doubled each time.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        rand: Callable[[], float],
        login: Logins = lambda _image: None,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._login = login
        self._engine = engine
        self._rand = rand
        self._first_pause = first_pause
        self._pulls: dict[str, asyncio.Task[None]] = {}

    async def resolved(self, reference: str, policy: PullPolicy, *, settled: str = "") -> tuple[str, str]:
        """Makes sure that the node has an image.

        Args:
            reference: of the image.
            policy: when it is pulled.
            settled: the digest that an earlier attempt found it to have, which counts whatever the tag says by now.

        Returns:
            The reference to use, and the digest of the image; its id if it has none.

        Raises:
            Refused: the image cannot be had.
        """
        if settled and policy != PullPolicy.NEVER and await self._local_digest(reference) != settled:
            exact = f"{repository_of(reference)}@{settled}"
            try:
                return exact, await self._digest(exact, PullPolicy.MISSING)
            except _Unknown:  # made on another node and in no registry, or gone from it
                log.warning("the image %s of an earlier attempt is not to be had any more; %s is", exact, reference)
        try:
            return reference, await self._digest(reference, policy)
        except _Unknown as unknown:
            raise Refused(Reason.IMAGE_PULL, unknown.message) from unknown

    async def _local_digest(self, reference: str) -> str:
        try:
            return digest_of(reference, await self._engine.image(reference))
        except DtsError:
            return ""

    async def _digest(self, reference: str, policy: PullPolicy) -> str:
        try:
            if policy == PullPolicy.ALWAYS:
                await self._pull(reference)
            return digest_of(reference, await self._image(reference, policy))
        except NotFound as error:
            raise _Unknown(f"there is no image {reference}: {error.message}") from error
        except DtsError as error:
            sentence = f"the image {reference} could not be had: {error.message}"
            raise (Refused(Reason.IMAGE_PULL, sentence) if _passing(error) else _Unknown(sentence)) from error

    async def _image(self, reference: str, policy: PullPolicy) -> Image:
        try:
            return await self._engine.image(reference)
        except NotFound as error:
            if policy == PullPolicy.NEVER:
                sentence = f"the node does not have the image {reference}, and the task says never to pull it"
                raise Refused(Reason.IMAGE_PULL, sentence) from error
        await self._pull(reference)
        return await self._engine.image(reference)

    async def _pull(self, reference: str) -> None:
        """One pull for all who want the same image at the same time; it goes on if one of them is cancelled."""
        pull = self._pulls.get(reference)
        if pull is None:
            pull = self._pulls[reference] = asyncio.create_task(self._pulled(reference), name=f"pull {reference}")
            pull.add_done_callback(lambda done: self._forget(reference, done))
        await asyncio.shield(pull)

    def _forget(self, reference: str, pull: asyncio.Task[None]) -> None:
        del self._pulls[reference]
        if not pull.cancelled():
            pull.exception()  # whoever waited has it; nobody may be left

    async def _pulled(self, reference: str) -> None:
        pause = self._first_pause
        for left in reversed(range(TRIES)):
            try:
                return await self._engine.pull(reference, login=self._login(reference))
            except DtsError as error:
                if not left or not _passing(error):
                    raise
            await asyncio.sleep(pause * (0.5 + self._rand() / 2))
            pause *= 2
        return None


def repository_of(reference: str) -> str:
    """A reference without tag and digest."""
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def digest_of(reference: str, image: Image) -> str:
    """The digest under which the repository of a reference has the image; its id if it has none."""
    repository = repository_of(reference)
    of_repository = [d for d in image.digests if f"/{d.partition('@')[0]}".endswith(f"/{repository}")]
    digests = of_repository or list(image.digests)
    return digests[0].partition("@")[2] if digests else image.id


def _passing(error: DtsError) -> bool:
    """Whether a pull that failed so may succeed in a moment; in the midst of a pull, refusals come in words only."""
    words = error.message.lower()
    final = any(word in words for word in ("not found", "unknown", "denied", "unauthorized"))
    return isinstance(error, (FailedPrecondition, Unavailable)) and not final
