"""The language of searches: from bytes to a validated tree of retrievers, or to Elasticsearch's errors."""
