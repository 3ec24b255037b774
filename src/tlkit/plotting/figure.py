"""The figure that every function of this package returns, which notebooks display."""

import io

import matplotlib.figure

_DPI = 144  # twice the pixels of the page, for sharp screens and large text


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that a notebook displays, without `%matplotlib inline` and pyplot.

    Examples:
        >>> Figure(figsize=(2, 1))._repr_png_()[1]
        {'width': 144, 'height': 72}
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the figure as a PNG file, and the size in pixels at which a notebook shows it."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=_DPI)
        width, height = (round(inches * _DPI / 2) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}
