"""What is the same whatever a program is lowered for: options, decompositions, graphs."""
