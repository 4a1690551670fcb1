"""The retriever language, without Elasticsearch."""
