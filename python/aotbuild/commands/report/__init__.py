"""Reports: what each kernel of a model costs, as a table and as a page."""
