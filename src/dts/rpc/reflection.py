"""Server reflection, v1 and v1alpha: tools such as grpcurl ask the server itself what it serves.

The descriptors are the ones that buf made from `proto/`, kept beside the generated code and read at the first question.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

from grpclib.reflection.service import ServerReflection

from dts.rpc.descriptors import descriptor_pool


class LazyPool:
    """A pool of descriptors that is filled when it is first asked."""

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - the name that protobuf gave it
        """The file that defines a symbol; protobuf's own pools do not know methods by name.

        Raises:
            KeyError: no file does.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    @cached_property
    def _pool(self) -> Any:
        return descriptor_pool()


def reflection(services: Collection[Any]) -> list[Any]:
    """The two reflection services for what a server serves, themselves left out."""
    known = len(services)
    return ServerReflection.extend(services, pool=LazyPool())[known:]
