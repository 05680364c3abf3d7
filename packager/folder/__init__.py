"""`tonearm package`: encoded files to a folder of encrypted CMAF and manifests."""
