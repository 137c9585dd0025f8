"""Task Scheduler Service: due instants become runs, runs go to executors, their reports come back."""
