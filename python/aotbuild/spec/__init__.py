"""What is written once: the keywords of a call, the files that it makes, and the rules that both sides of a build keep.

`aotbuild plan` runs from here while a project is configured, so the modules import little, and never torch.
"""
