"""The command line: parse, call, print. No logic.

One module per noun; heavy imports stand inside commands so that help is instant.
"""
