"""Experiments as plain data: default.py is the base, everything else a short difference from it."""
