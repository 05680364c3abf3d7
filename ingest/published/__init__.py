"""What content operations type about published tracks."""
