from . import engines as engines
from . import store as store
from .cache import Cache as Cache
from .cache import Dtype as Dtype
from .cache import EngineName as EngineName
from .cache import TrunkRun as TrunkRun
from .store import Store as Store
from .usage import Usage as Usage
