"""CMAF files: where to cut, writing, proving and reopening them."""
