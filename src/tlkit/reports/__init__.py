"""A finished run as text: an HTML page, Markdown, a model card, a summary of five lines.

Start reading in `facts.py` (the values that a report states) and `render.py` (the functions that
users call). The other modules turn the values into sections, and sections into HTML and Markdown.

Public: what `__init__.pyi` lists.
The package imports `evaluation` and the packages below it, but not `plotting`: figures are passed
in. `experiments` imports it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
