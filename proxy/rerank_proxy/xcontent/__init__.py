"""JSON bodies, targets, times, sizes and numbers, read and printed as Elasticsearch does it everywhere."""
