"""The chart is SVG that a browser shows."""

from xml.etree import ElementTree

import pytest

from benchmarks.chart import HEIGHT, WIDTH, load_chart, nice
from benchmarks.findings import Point

POINTS = [Point(500, 500, 2, 9), Point(1_000, 998, 3, 14.5), Point(1_500, 1_210, 40, 730)]
SVG = "{http://www.w3.org/2000/svg}"


def lines(points: list[Point]) -> dict[str, list[tuple[float, float]]]:
    chart = ElementTree.fromstring(load_chart(points))
    return {
        line.attrib["class"]: [
            (float(x), float(y))
            for x, y in (pair.split(",") for pair in line.attrib["points"].split())
        ]
        for line in chart.iter(f"{SVG}polyline")
    }


def test_each_point_is_on_the_rate_and_on_the_latency() -> None:
    drawn = lines(POINTS)

    assert len(drawn["rate"]) == len(drawn["late"]) == len(POINTS)


def test_everything_lies_inside_the_picture() -> None:
    places = [place for line in lines(POINTS).values() for place in line]

    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)


def test_more_is_further_up_and_to_the_right() -> None:
    (x1, y1), (x2, y2), _ = lines(POINTS)["rate"]

    assert x2 > x1
    assert y2 < y1


def test_a_rate_that_is_kept_lies_on_the_dashed_line() -> None:
    drawn = lines([Point(500, 500, 1, 5), Point(1_000, 1_000, 1, 5)])

    assert drawn["ideal"][-1] == drawn["rate"][-1]


def test_one_point_is_enough() -> None:
    assert len(lines(POINTS[:1])["rate"]) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 1),
        (0.03, 0.03),
        (1, 1),
        (1.1, 2),
        (2.2, 2.5),
        (730, 800),
        (3_100, 4_000),
        (10_000, 10_000),
    ],
)
def test_axes_end_at_a_round_number(value: float, expected: float) -> None:
    assert nice(value) == pytest.approx(expected)
