"""A finished run as text: an HTML page, Markdown, a model card, a summary of five lines.

Start reading in `facts.py` (the values that a report states) and `templates/report.md.j2` (the
sentences); `render.py` has the functions that users call. `escaping.py` escapes names of files and
classes, so that they can't become markup; `page.py` turns the Markdown into the HTML page.

Public: what `__init__.pyi` lists.
The package imports `evaluation` and the packages below it, but not `plotting`: figures are passed
as arguments. `experiments` imports it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
