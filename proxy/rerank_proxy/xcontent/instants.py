"""Points in time as Elasticsearch prints them."""

from datetime import UTC, datetime


def iso_instant(millis: int) -> str:
    """Return a point in time, in milliseconds since 1970, in ISO 8601."""
    moment = datetime.fromtimestamp(millis // 1000, UTC).replace(microsecond=millis % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
