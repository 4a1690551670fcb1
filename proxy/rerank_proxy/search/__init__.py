"""The retriever language: what a search asks for, how it is run, and what the client is told."""
