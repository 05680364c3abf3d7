"""The caching tier in front of the stores."""
