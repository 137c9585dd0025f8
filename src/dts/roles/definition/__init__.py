"""Task Definition Service: create, change, pause and list tasks; show when they would run."""
