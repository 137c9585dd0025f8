"""dts: the cron that Docker Swarm never got."""
