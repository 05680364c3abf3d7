"""Words and plumbing that at least two components use; imports no component."""
