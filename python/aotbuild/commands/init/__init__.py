"""``aotbuild init``: writes a project with a model, a program and tests, which builds as it is."""
