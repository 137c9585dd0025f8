"""What every message and service looks like, as Google's library knows it.

The descriptors are the ones that buf made from `proto/`, kept beside the generated code.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

DESCRIPTORS = "descriptors.bin"


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


def _standard_files() -> tuple[bytes, ...]:
    from grpclib.health.v1 import health_pb2  # noqa: PLC0415 - only who asks pays for the import
    from grpclib.reflection.v1 import reflection_pb2  # noqa: PLC0415 - the same
    from grpclib.reflection.v1alpha import reflection_pb2 as alpha_pb2  # noqa: PLC0415 - the same

    return tuple(module.DESCRIPTOR.serialized_pb for module in (health_pb2, reflection_pb2, alpha_pb2))
