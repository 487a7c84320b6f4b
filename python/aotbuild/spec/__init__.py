"""What is written once: the keywords of a call, the files that it makes, and the rules that both sides of a build keep.

`aotbuild plan` runs from here while a project is configured, once for each new call, so the modules that it is made of
import little. `typing`, `re`, `dataclasses` and `collections` each take longer to load than a plan takes to make: plain
data is a `record`, and types are imported under a `TYPE_CHECKING` that the module has itself.
"""
