"""The only package that imports ``torch._inductor``: lowering, kernels and the wrapper, below upstream's entry points."""
