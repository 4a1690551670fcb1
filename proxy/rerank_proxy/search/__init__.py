"""Searches with compound retrievers: how they are read, run and answered."""
