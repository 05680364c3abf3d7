"""Masters as they are delivered: what they are, and whether they are sound."""
