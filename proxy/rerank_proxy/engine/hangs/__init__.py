"""Notice what never returns, and remember over a restart which model took the process down."""
