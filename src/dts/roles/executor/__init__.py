"""Task Execution Service: one on every node; runs what it is given and says what became of it."""
