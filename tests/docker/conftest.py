"""Tests with a real Docker engine."""

from support.container_bench import bench, proxy
from support.engine import docker_host, own_engine

__all__ = ["bench", "docker_host", "own_engine", "proxy"]
