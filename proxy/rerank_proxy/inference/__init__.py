"""Inference endpoints: which reranker serves an `inference_id`."""
