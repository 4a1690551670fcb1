"""Everything that is asked of Elasticsearch: its address, connections, headers, and what it supports."""
