"""Elasticsearch's search APIs, one module each: what the application does with a request to it."""
