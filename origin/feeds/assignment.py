"""Minimum-cost assignment: which of the new rows is which of the known ones.

The Hungarian method with potentials, over integers so that equal inputs always give equal pairs. A match
leaves a handful of rows that are not equal to a known one, so a pure Python loop of n³ steps is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["assign"]

_INFINITE: Final = 1 << 60


def assign(costs: Sequence[Sequence[int]], limits: Sequence[Sequence[int]]) -> list[int | None]:
    """Pair rows with columns so that the sum of all costs is the least.

    A pair may cost at most its limit. A row without a column, and a column without a row, cost nothing by
    themselves; a pair saves what its limit is above its cost. So a row stays alone only where every pair
    that it could be in is above its limit, or would cost another row more.

    Args:
        costs: for each row the cost of each column, 0 or more.
        limits: for each row and column the most that the pair may cost.

    Returns:
        For each row the index of its column, or None.
    """
    rows = len(costs)
    columns = len(costs[0]) if rows else 0
    if not rows or not columns:
        return [None] * rows
    # What a pair costs beside leaving both alone. One more column for each row stands for "alone".
    width = columns + rows
    weights = [
        [min(0, cost - limit - 1) for cost, limit in zip(row, row_limits, strict=True)] + [0] * rows
        for row, row_limits in zip(costs, limits, strict=True)
    ]
    row_potential, column_potential = [0] * (rows + 1), [0] * (width + 1)
    row_of = [0] * (width + 1)  # counted from 1; 0 is none
    for row in range(1, rows + 1):
        row_of[0] = row
        column = 0
        least = [_INFINITE] * (width + 1)
        came_from = [0] * (width + 1)
        visited = [False] * (width + 1)
        while row_of[column]:
            visited[column] = True
            here, step, following = row_of[column], _INFINITE, 0
            for other in range(1, width + 1):
                if visited[other]:
                    continue
                reduced = weights[here - 1][other - 1] - row_potential[here] - column_potential[other]
                if reduced < least[other]:
                    least[other], came_from[other] = reduced, column
                if least[other] < step:
                    step, following = least[other], other
            for other in range(width + 1):
                if visited[other]:
                    row_potential[row_of[other]] += step
                    column_potential[other] -= step
                else:
                    least[other] -= step
            column = following
        while column:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    paired: list[int | None] = [None] * rows
    for column in range(1, columns + 1):
        row = row_of[column]
        if row and weights[row - 1][column - 1] < 0:
            paired[row - 1] = column - 1
    return paired
