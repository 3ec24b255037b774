"""A web page that classifies images in the visitor's own browser, without a server.

Start reading in `page`, which writes the page from the files in `templates`. `runtime` finds the
software that runs a classifier in a browser, and `drawing` describes the images that a visitor can
draw. In `templates`, `app.js` is the page, `pictures.js` reads image files, `resize.js` fits them.

It imports `deployment.graph` and the packages below it; `deployment.formats.web` and
`deployment.exporter` import it.
"""
