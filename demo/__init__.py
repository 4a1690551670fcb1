"""The demo: one search before and after reranking, with a real Elasticsearch and a real model."""
