"""The application without Elasticsearch."""
