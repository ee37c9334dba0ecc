"""Sizes of images, and parts of them, in pixels."""

from typing import NamedTuple, Self

__all__ = ["Box", "Extent"]


class Extent(NamedTuple):
    """The size of an image, pixels."""

    width: int
    height: int

    def turned(self) -> Self:
        """Get the size after a quarter turn."""
        return type(self)(self.height, self.width)


class Box(NamedTuple):
    """A part of an image, pixels.

    Parameters
    ----------
    x, y : `int`
        Its first column and row, counted from 0.
    width, height : `int`
        Its size.
    """

    x: int
    y: int
    width: int
    height: int

    def is_within(self, extent: Extent) -> bool:
        """Tell whether it is not empty, and nowhere outside of an image."""
        return (
            0 <= self.x < self.x + self.width <= extent.width
            and 0 <= self.y < self.y + self.height <= extent.height
        )

    def before_turn(self, width: int) -> Self:
        """Find the part of an image that `numpy.rot90` brings here.

        Parameters
        ----------
        width : `int`
            Width of that image, before the turn.
        """
        return type(self)(width - self.y - self.height, self.x, self.height, self.width)
