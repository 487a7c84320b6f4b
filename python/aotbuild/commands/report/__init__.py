"""Reports: what each kernel of a model built for CUDA costs, as a table and as a page."""
