"""The log, metrics, probes, and the outcomes of searches."""
