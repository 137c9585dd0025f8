"""Kind `service`: one-shot services of the Swarm."""
