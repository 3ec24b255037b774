"""Serve an exported file over HTTP: a FastAPI app, its process, and a container for it.

Start reading in `app.py` (the routes). `uploads.py` takes images out of a request, `service.py`
decodes them, `batching.py` runs the images of several requests together, `refusal.py` is every
answer that is no prediction. `server.py` runs the app until it is told to stop, and `container.py`
writes a folder to build an image from. `templates` holds the Dockerfile and pages for a browser.

Public: `create_app`, `serve`, `write_container` and `Limits`. Imports no Keras; FastAPI and uvicorn
are imported when an app is made. Imports `deployment.predictor` and below.
"""

from tlkit._internal import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
