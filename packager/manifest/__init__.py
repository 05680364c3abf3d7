"""What players read, rendered from a presentation: pure functions."""
