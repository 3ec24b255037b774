from .app import create_app as create_app
from .container import write_container as write_container
from .limits import Limits as Limits
from .server import serve as serve
