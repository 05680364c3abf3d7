"""Content keys: hierarchy, licences, key requests."""
