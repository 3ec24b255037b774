from . import formats as formats
from .exporter import export as export
