"""Encryption, the choice between its two implementations, and which key each segment has."""
