"""The application behind the edge: everything that knows about scores."""
