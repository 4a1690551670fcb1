"""Endpoints whose service is another server: what all of these services share."""
