"""AOTInductor's own tests for the CPU, restated: each case has the name of the upstream test whose subject it shares.

Each module here registers the cases of one theme in `case.CASES`.
"""
