"""A bar chart as SVG, drawn here: the geometry only, no colour, no style attribute.

Widths are shares of the drawing and heights are pixels, so that it fits any window and its text keeps its size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 190  # of the whole drawing
TOP = 24  # where the highest bar ends, with room for its number
BASE = 160  # where bars stand, with room for the labels below
GAP = 0.22  # of a slot
LOWEST = 3  # so that a bar of one is seen beside a bar of thousands
CLIFF = 3  # times the average, from which on a bar stands out
CLIFF_FROM = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """What one bar says: `label` below it, `short` on top, `words` for those who do not see it, and where it leads."""

    number: int
    label: str
    short: str
    words: str
    url: str


@dataclass(frozen=True, slots=True)
class Drawn:
    bar: Bar
    slot_x: str
    slot_width: str
    x: str
    width: str
    middle: str
    y: int
    height: int
    number_y: int
    stands_out: bool


def draw(bars: Sequence[Bar]) -> list[Drawn]:
    highest = max((bar.number for bar in bars), default=0)
    average = sum(bar.number for bar in bars) / max(len(bars), 1)
    slot = 100 / max(len(bars), 1)
    return [_drawn(bar, index * slot, slot, highest, _is_cliff(bar.number, average)) for index, bar in enumerate(bars)]


def _drawn(bar: Bar, left: float, slot: float, highest: int, stands_out: bool) -> Drawn:
    height = max(round((BASE - TOP) * bar.number / highest), LOWEST) if bar.number else 0
    return Drawn(
        bar=bar,
        slot_x=_share(left),
        slot_width=_share(slot),
        x=_share(left + slot * GAP / 2),
        width=_share(slot * (1 - GAP)),
        middle=_share(left + slot / 2),
        y=BASE - height,
        height=height,
        number_y=BASE - height - 6,
        stands_out=stands_out,
    )


def _is_cliff(number: int, average: float) -> bool:
    return number >= max(CLIFF_FROM, CLIFF * average)


def _share(percent: float) -> str:
    return f"{percent:.3f}%"


def short(number: int) -> str:
    """With three digits at most: 950, 1.2k, 10k."""
    if number < 1_000:
        return str(number)
    thousands = number / 1_000
    return f"{thousands:.1f}k" if thousands < 9.95 else f"{thousands:.0f}k"
