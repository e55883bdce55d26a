"""`make site`: the review as a web site that needs no installation, in build/site.

Why Sphinx with MyST and Furo: pip alone installs them, in pure Python, and they bring what readers expect of such a site
(navigation, search, light and dark, a skip link) with relative links, so that it works on any file server and below any
path. Jupyter Book 2 needs node and Quarto a program of its own; mkdocs-jupyter and myst-nb bring a kernel's worth of
packages to run notebooks, while nothing is run here. Formulas become MathML by docutils, when the site is built: no script,
no font and no request, and nothing that jumps into place.

From the repository to a page: `pages` (which there are, where a link leads) -> `chapters`, `api` (their Markdown) ->
`__main__` (Sphinx) -> `finish` (the HTML). Modules import only from those to their left.
"""
