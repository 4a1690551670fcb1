"""Encode a query and texts as token ids, and turn outputs into scores."""
