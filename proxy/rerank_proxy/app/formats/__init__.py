"""The forms in which bodies come and go: media types, YAML and CBOR, codings, `filter_path`."""
