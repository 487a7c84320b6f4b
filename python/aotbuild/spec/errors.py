"""The error that users see: what they wrote, what is wrong with it, and what to do."""

from __future__ import annotations


class AotbuildError(Exception):
    """A mistake or limit that the user can act on; printed as a message, without a Python traceback."""
