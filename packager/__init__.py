"""Renditions in; encrypted CMAF and manifests out."""
