"""Helpers that every package uses and no user needs.

Start reading in `arguments.py`, which checks arguments and words their errors. Other modules
measure cores and memory, write files atomically, format numbers and tables, import optional
packages, and restore variables.

Nothing here is public. The package imports only `tlkit.errors`, and every package imports it.
"""
