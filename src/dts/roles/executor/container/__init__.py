"""Kind `container`: containers on the engine of the node."""
