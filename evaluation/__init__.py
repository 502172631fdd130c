"""How good a score is: likelihood, distances between samples and data, and the report of both."""
