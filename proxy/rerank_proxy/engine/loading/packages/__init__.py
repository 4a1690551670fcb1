"""Elasticsearch's model packages: their files, and their tokenizers."""
