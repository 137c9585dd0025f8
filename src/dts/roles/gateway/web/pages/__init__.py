"""The pages: each asks the services for what it shows, and fills its template."""
