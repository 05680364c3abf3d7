"""ISO base media file format: one module per box or box family."""
