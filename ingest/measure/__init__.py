"""What the one decode is listened to for: loudness, true peak, waveform."""
