"""Segments, manifests and playback sessions over HTTP."""
