"""Asks a server about its health and its services with Google's own packages, and prints what it learnt as JSON.

A program of its own: Google's and grpclib's generated modules of the same protos cannot be loaded together.
"""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class ShowToken(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    def __init__(self, token):
        self._metadata = (("authorization", f"Bearer {token}"),)

    def _shown(self, details):
        return details._replace(metadata=self._metadata)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._shown(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(self._shown(details), requests)


def main(address, token, symbol):
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        database = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, ShowToken(token)))
        service = DescriptorPool(database).FindServiceByName(symbol)
        learnt = {
            "health": health_pb2.HealthCheckResponse.ServingStatus.Name(health.status),
            "services": list(database.get_services()),
            "methods": {method.name: method.input_type.full_name for method in service.methods},
            "fields": [field.name for field in service.methods_by_name["GetRun"].input_type.fields],
        }
    print(json.dumps(learnt))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(*sys.argv[1:])
