"""Short-lived state behind one protocol."""
