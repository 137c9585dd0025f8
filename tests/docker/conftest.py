"""Tests with a real Docker engine."""

from __future__ import annotations

from support.engine import docker_host, own_engine

__all__ = ["docker_host", "own_engine"]
