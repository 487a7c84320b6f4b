"""Lowering for declared NVIDIA GPUs, on any machine: every kernel is a Triton kernel, compiled here to machine code."""
