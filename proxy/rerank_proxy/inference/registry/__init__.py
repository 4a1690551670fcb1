"""Stores the endpoints that clients create, in a file or in an index, with their secrets encrypted."""
