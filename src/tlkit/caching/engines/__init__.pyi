from .selection import ENGINES as ENGINES
from .selection import Engine as Engine
from .selection import get_version as get_version
from .selection import list_installed as list_installed
from .selection import prepare as prepare
