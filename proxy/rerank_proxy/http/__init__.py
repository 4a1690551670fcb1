"""HTTP/1.1 as bytes: heads, framing, codings, media types. It opens no connections."""
