"""Bundles of candidates, which are measured on a GPU."""
