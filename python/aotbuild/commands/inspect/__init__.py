"""``aotbuild inspect`` and ``aotbuild diff``: what a built model is, and what changed from one build to another."""
