"""Searches with compound retrievers, without Elasticsearch."""
