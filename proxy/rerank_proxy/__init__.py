"""Elasticsearch's semantic reranking, as a proxy in front of any Elasticsearch."""

__version__ = "0.1.0"
