"""The formats of bodies: YAML and CBOR, `filter_path`, `error_trace`."""
