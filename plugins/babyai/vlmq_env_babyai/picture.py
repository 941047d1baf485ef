"""The picture: the level as minigrid draws it, in whole pixels a cell, on a square of the size asked for."""

from __future__ import annotations

import numpy as np
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from numpy.typing import NDArray

VIEWS = ("agent", "full")
"""What is shown: what the agent sees, turned so that it looks up; or the whole level, what it sees in light grey."""

SMALLEST_CELL_PX = 7
"""At six pixels a cell a grey box cannot be told from the floor."""


def cells_across(level: RoomGridLevel, view: str) -> int:
    """Cells along the longer side of the picture."""
    return int(level.agent_view_size if view == "agent" else max(level.width, level.height))


def draw(level: RoomGridLevel, view: str, size: int) -> NDArray[np.uint8]:
    """The level in its present state, as a new array of shape (size, size, 3); black where there is no level."""
    cell_px = size // cells_across(level, view)
    frame = level.get_frame(highlight=True, tile_size=cell_px, agent_pov=view == "agent")
    picture = np.zeros((size, size, 3), np.uint8)
    height, width = frame.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    picture[top : top + height, left : left + width] = frame
    return picture
