"""The pipeline of a model and of a hand-written kernel: a file in, generated sources out."""
