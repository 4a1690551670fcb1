"""Elasticsearch's APIs that the application answers, one module each, and the routes to them."""
