"""gRPC on both sides: servers, channels, errors, limits, health and reflection."""
