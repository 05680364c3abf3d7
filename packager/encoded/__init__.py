"""Encoded audio as it comes in: what an encoder or a file gives, and its readers."""
