"""The composition root: `dts dev` and `dts serve`, and what the command line does with a database itself."""
