"""From a program that was exported on the CPU to the graph that is lowered for a GPU."""
