"""Tuning: the fastest configuration of each GPU kernel, measured once, kept in a text file, replayed by builds."""
