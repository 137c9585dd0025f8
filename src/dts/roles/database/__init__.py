"""Database Service: the service face of the store."""
