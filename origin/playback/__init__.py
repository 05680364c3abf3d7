"""Playback sessions: start, heartbeat, end."""
