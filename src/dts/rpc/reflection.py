"""Server reflection, v1 and v1alpha: tools such as grpcurl ask the server itself what it serves.

The descriptors are the ones that buf made from `proto/`, kept beside the generated code and read at the first question.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from importlib.resources import files
from typing import Any

from grpclib.reflection.service import ServerReflection

DESCRIPTORS = "descriptors.bin"


class LazyPool:
    """A pool of descriptors that is filled when it is first asked."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    @cached_property
    def _pool(self) -> Any:
        return descriptor_pool()


def descriptor_pool() -> Any:
    """Every message and service that this program knows."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet  # type: ignore[import-untyped]  # noqa: PLC0415 - only who asks pays
    from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(files("dts.pb").joinpath(DESCRIPTORS).read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    for data in _standard_files():
        pool.AddSerializedFile(data)
    return pool


def reflection(services: Collection[Any]) -> list[Any]:
    """The two reflection services for what a server serves, themselves left out."""
    known = len(services)
    return ServerReflection.extend(services, pool=LazyPool())[known:]


def _standard_files() -> tuple[bytes, ...]:
    from grpclib.health.v1 import health_pb2  # noqa: PLC0415 - only who asks pays for the import
    from grpclib.reflection.v1 import reflection_pb2  # noqa: PLC0415 - the same
    from grpclib.reflection.v1alpha import reflection_pb2 as alpha_pb2  # noqa: PLC0415 - the same

    return tuple(module.DESCRIPTOR.serialized_pb for module in (health_pb2, reflection_pb2, alpha_pb2))
