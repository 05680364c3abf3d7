"""Tracks, rights and generations."""
