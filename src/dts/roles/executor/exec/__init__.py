"""Kind `exec`: commands in containers that somebody else runs."""
