"""The only package that imports ``torch._inductor``: lowering, kernels and wrapper, below upstream's entry points."""
