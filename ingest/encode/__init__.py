"""From the master to encoded rungs."""
