"""The part that relays bytes: heads, bodies, connections, routing. It knows nothing of scores."""
