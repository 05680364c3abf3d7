"""The page and the shaped pathways of 'tonearm demo'."""
