"""Models that clients upload (`_ml/trained_models`): configurations, files, deployments, answers."""
