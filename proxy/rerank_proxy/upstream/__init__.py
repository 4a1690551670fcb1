"""Elasticsearch behind the proxy: its address and connections, headers, requests, and what it can do."""
