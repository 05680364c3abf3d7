"""Measurements, scoring and content steering."""
