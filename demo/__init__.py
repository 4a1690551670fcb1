"""The reference search, before and after reranking, on a real Elasticsearch with a real model."""
