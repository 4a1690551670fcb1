"""The language of searches: from bytes to a validated tree of retrievers, and Elasticsearch's complaints."""
