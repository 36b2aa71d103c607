#!/usr/bin/env python3
"""Draws the figures that benchmarks have written: curves over a count, both axes logarithmic.

    python3 benches/draw.py growth.json benches/growth.svg

The file has a title, the unit of the figures, and panels; a panel has lines, and a line has points:

    {"title": "…", "unit": "µs", "panels": {"Mailboxes": {"login": [[1, 90.5], [100, 91.2]]}}}

Needs Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import math
from html import escape
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 390, 320, 52, 118, 34, 44
COLUMNS = 3
COLOURS = ["#3566a8", "#b5542b", "#2f7d4f", "#7a4a9e", "#8a6d1d", "#4d5a66"]


def draw(figures: dict) -> str:
    panels, unit = figures["panels"], figures["unit"]
    found = [value for lines in panels.values() for line in lines.values() for _, value in line]
    decades = (math.floor(math.log10(min(found))), math.ceil(math.log10(max(found))))
    parts = []
    for index, (title, lines) in enumerate(panels.items()):
        row, column = divmod(index, COLUMNS)
        at = f"{WIDTH * column},{HEIGHT * row}"
        parts.append(f'<g transform="translate({at})">{panel(title, unit, lines, decades)}</g>')
    total = (WIDTH * min(len(panels), COLUMNS), HEIGHT * math.ceil(len(panels) / COLUMNS))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="11" role="img">'
        f"<title>{escape(figures['title'])}</title>"
        f'<rect width="{total[0]}" height="{total[1]}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def panel(title: str, unit: str, lines: dict, decades: tuple[int, int]) -> str:
    counts = sorted({count for line in lines.values() for count, _ in line})
    low, high = decades
    span = math.log10(counts[-1] / counts[0]) or 1

    def x(count: float) -> float:
        return LEFT + math.log10(count / counts[0]) / span * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [text(LEFT, 18, title, weight="bold", fill="#222222")]
    for decade in range(low, high + 1):
        at = y(10.0**decade)
        parts.append(
            f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#e3e3e3" stroke-width="1"/>'
        )
        parts.append(text(LEFT - 6, at + 4, f"{10.0**decade:,g}", anchor="end"))
    parts.append(text(LEFT - 6, TOP - 6, unit, anchor="end"))
    for count in counts:
        parts.append(text(x(count), HEIGHT - BOTTOM + 16, f"{count:,}", anchor="middle"))
    labels = []
    for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
        points = " ".join(f"{x(count):.1f},{y(value):.1f}" for count, value in line)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        )
        for count, value in line:
            at = f'cx="{x(count):.1f}" cy="{y(value):.1f}"'
            parts.append(f'<circle {at} r="2.6" fill="{colour}"/>')
        labels.append([y(line[-1][1]) + 4, name, colour])
    for at, name, colour in spread(labels):
        parts.append(text(WIDTH - RIGHT + 8, at, name, fill=colour))
    return "".join(parts)


def spread(labels: list[list]) -> list[list]:
    """The labels from top to bottom, moved down as far as they would overlap."""
    labels = sorted(labels)
    for upper, lower in zip(labels, labels[1:], strict=False):
        lower[0] = max(lower[0], upper[0] + 13)
    return labels


def text(
    x: float,
    y: float,
    content: str,
    anchor: str = "start",
    fill: str = "#555555",
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" '
        f'font-weight="{weight}">{escape(content)}</text>'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("picture", type=Path, help="the SVG file that is written")
    given = parser.parse_args()
    given.picture.write_text(draw(json.loads(given.figures.read_text())))


if __name__ == "__main__":
    main()
