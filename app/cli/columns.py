"""Plain text in columns, for people and for `grep`."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

GAP = "  "


def in_columns(*rows: Sequence[object]) -> Iterator[str]:
    """Yield one line a row; each column is as wide as its widest cell, and the last one is not padded."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield GAP.join(cells).rstrip()


def moment(time: datetime | None) -> str:
    """Return a time to the second, in UTC; `-` for none."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if time else "-"


def seconds_between(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took, in seconds; `-` when it has no start or no end yet."""
    return f"{(end - start).total_seconds():.3f}" if start and end else "-"


def first_line(text: str, limit: int = 200) -> str:
    """Return the first line of a text, cut to fit a row."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
