"""Serve an exported file over HTTP: a FastAPI app, its process, and a container for it.

Start reading in `app.py` (the routes). `uploads.py` reads the images of a request, `service.py`
decodes them, `batching.py` predicts images of several requests together, and `refusal.py` defines
all answers that are not predictions. `server.py` runs the app until a signal stops it, and
`container.py` writes a folder to build a container image from. `templates` holds the Dockerfile and
pages for a browser.

Public: `create_app`, `serve`, `write_container` and `Limits`. Imports no Keras; FastAPI and uvicorn
are imported when an app is created. Imports `deployment.predictor` and the packages below it.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
