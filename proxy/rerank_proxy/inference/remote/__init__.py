"""Services of other servers: all that they share."""
