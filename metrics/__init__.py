"""How good samples and densities are, as pure functions: they take samples, features or scores and return numbers.

Nothing here reads a file, a config or a run; `evaluation/` does, and calls these.
"""
