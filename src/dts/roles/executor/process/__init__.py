"""Kind `process`: commands on the node itself, under a small shell that outlives the executor."""
