"""The Docker engine behind two small ports."""
