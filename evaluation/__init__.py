"""Drivers: they measure a run with the functions of `metrics/`, keep what takes long, and report it."""
