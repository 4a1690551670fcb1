"""The searches that are sent upstream, and what their answers say."""
