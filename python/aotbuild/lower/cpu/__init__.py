"""Lowering for declared instruction sets of CPUs."""
