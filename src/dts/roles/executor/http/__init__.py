"""Kind `http`: requests."""
