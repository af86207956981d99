"""Goals, and the rows of a table that say whether they were reached; sides run by turns, but slow ones seldom."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from measure import duration

T = TypeVar("T")

PATIENCE = 10.0
COLUMNS = ("ours", "rival", "TinyDB", "floor", "rival/ours", "TinyDB/ours", "ours/floor", "ours-floor")


@dataclass(frozen=True)
class Goal:
    """What is to be reached: so many times better than the rival, at most so much, or so much over the floor."""

    times: float = 0.0
    at_most: float = float("inf")
    over_floor: float = float("inf")

    def told(self, values: Mapping[str, float], show: Callable[[float], str]) -> str:
        """Return the goal, and whether it was reached."""
        ours, infinity = values["ours"], float("inf")
        goals = {
            f"{self.times:g} x": not self.times or values.get("rival", infinity) / ours >= self.times,
            f"<= {show(self.at_most)}": ours <= self.at_most,
            f"<= {show(self.over_floor)} over the floor": ours - values.get("floor", 0) <= self.over_floor,
        }
        is_set = (self.times > 0, self.at_most < infinity, self.over_floor < infinity)
        told = [(goal, is_met) for (goal, is_met), given in zip(goals.items(), is_set, strict=True) if given]
        return ", ".join(goal if is_met else f"{goal} MISSED" for goal, is_met in told)


NO_GOAL = Goal()


def size(amount: float | None) -> str:
    """Return bytes as people read them."""
    return "-" if amount is None else f"{amount / 1e6:,.1f} MB"


@dataclass(frozen=True)
class Row:
    """One line of a table: the median of each side."""

    what: str
    values: Mapping[str, float]
    goal: Goal = NO_GOAL
    show: Callable[[float | None], str] = field(default=duration)

    def cells(self) -> tuple[str, ...]:
        ours, rival, stock, floor = (self.values.get(side) for side in ("ours", "rival", "TinyDB", "floor"))
        ratios = [_ratio(rival, ours), _ratio(stock, ours), _ratio(ours, floor)]
        over = self.show(ours - floor) if ours and floor else "-"
        amounts = map(self.show, (ours, rival, stock, floor))
        return self.what, *amounts, *ratios, over, self.goal.told(self.values, self.show)


def _ratio(above: float | None, below: float | None) -> str:
    return f"{above / below:.2f}" if above and below else "-"


def by_turns(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run every side once to warm up and then by turns; what was too slow to be run again has its first result."""
    results: dict[str, list[T]] = {side: [] for side in sides}
    spent = dict.fromkeys(sides, 0.0)
    for _ in range(1 + rounds):
        for side, run in sides.items():
            if spent[side] < PATIENCE:
                began = time.perf_counter()
                results[side].append(run())
                spent[side] += time.perf_counter() - began
    return {side: found[1:] or found for side, found in results.items()}


def medians(results: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {side: statistics.median(values) for side, values in results.items() if values}
