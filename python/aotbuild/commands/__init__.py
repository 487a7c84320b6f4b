"""What `python -m aotbuild` does for users: one module a command."""
