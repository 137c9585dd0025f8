"""The front door: passes public gRPC calls on to the services inside and serves health over HTTP."""
