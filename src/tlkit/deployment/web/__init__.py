"""A web page that classifies images in the visitor's own browser, without a server's help.

Start reading in `page`, which writes it from the files in `templates`. `runtime` finds the software
that runs a classifier in a browser, `drawing` describes the images that a visitor may draw. In
`templates`, `app.js` is the page, `pictures.js` reads image files and `resize.js` fits them.

It imports `deployment.graph` and below; `deployment.formats.web` and `deployment.exporter` import
it.
"""
