"""Clock, loop, logging and graceful stop."""
