from .engine import ENGINES as ENGINES
from .engine import Engine as Engine
from .engine import installed as installed
from .engine import prepare as prepare
from .engine import version as version
