"""An example of what other packages bring to rerank-proxy: a service and a backend."""
