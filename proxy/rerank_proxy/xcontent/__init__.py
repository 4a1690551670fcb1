"""What Elasticsearch reads and prints everywhere: JSON bodies, query strings, times, numbers."""
