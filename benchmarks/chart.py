"""A chart of the load curve, as SVG: accepted rate above, p99 latency below, over the rate that was offered."""

from collections.abc import Callable, Sequence
from html import escape

from benchmarks.findings import Point

WIDTH, HEIGHT = 720, 520
LEFT, RIGHT = 80, 700
PANELS = ((50, 240), (290, 470))
"""Top and bottom of each panel."""
STYLE = (
    "text{font:13px sans-serif;fill:#333}.grid{stroke:#ddd}.ideal{stroke:#999;stroke-dasharray:5 4;fill:none}"
    ".rate{stroke:#1864ab;fill:none;stroke-width:2}.late{stroke:#c92a2a;fill:none;stroke-width:2}"
)
TICKS = 4
NICE = (1, 2, 2.5, 3, 4, 5, 6, 8, 10)
Place = Callable[[float, float], tuple[float, float]]


def load_chart(points: Sequence[Point]) -> str:
    """Return the chart of a curve that has at least one point."""
    widest = nice(max(point.offered for point in points))
    rate_top = nice(max(max(point.accepted, point.offered) for point in points))
    late_top = nice(max(point.p99 for point in points))
    rates = [(point.offered, point.accepted) for point in points]
    lates = [(point.offered, point.p99) for point in points]
    rate_place, late_place = (
        _place(panel, widest, top) for panel, top in zip(PANELS, (rate_top, late_top), strict=True)
    )
    parts = [
        *_panel(rate_place, "accepted triggers/s (dashed: offered)", widest, rate_top),
        _line([(0, 0), (min(widest, rate_top),) * 2], rate_place, "ideal"),
        _line(rates, rate_place, "rate"),
        *_panel(late_place, "p99 of trigger to 202, ms", widest, late_top),
        _line(lates, late_place, "late"),
        _text((LEFT + RIGHT) / 2, HEIGHT - 12, "offered triggers/s", "middle"),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ground, *parts, "</svg>"]) + "\n"


def nice(value: float) -> float:
    """Return the next round number from `value` up, at which an axis may end."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value > 0:
        power /= 10
    return next((power * factor for factor in NICE if power * factor >= value), power)


def _place(panel: tuple[int, int], widest: float, top: float) -> Place:
    """Return what turns values into places of a panel."""
    above, below = panel

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (RIGHT - LEFT) * x / widest, below - (below - above) * y / top

    return place


def _panel(place: Place, title: str, widest: float, top: float) -> list[str]:
    parts = [_text(LEFT, place(0, top)[1] - 12, title, "start")]
    for tick in range(TICKS + 1):
        x, y = widest * tick / TICKS, top * tick / TICKS
        left, height = place(0, y)
        parts.append(f'<path class="grid" d="M{left:.1f} {height:.1f}H{RIGHT}"/>')
        parts.append(_text(left - 8, height + 4, f"{y:,.4g}" if y < 1000 else f"{y:,.0f}", "end"))
        across, bottom = place(x, 0)
        parts.append(_text(across, bottom + 18, f"{x:,.0f}", "middle"))
    return parts


def _line(values: Sequence[tuple[float, float]], place: Place, kind: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*value) for value in values))
    return f'<polyline class="{kind}" points="{places}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
