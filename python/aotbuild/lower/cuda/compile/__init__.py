"""Kernels, their configurations and the wrapper that launches them."""
