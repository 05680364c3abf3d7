"""Looking into any MP4, broken ones too."""
