"""Manifests, segments and files under signed paths."""
