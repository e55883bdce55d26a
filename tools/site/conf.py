"""Sphinx's settings."""

project = html_title = "MAML, reviewed"
extensions = ["myst_parser", "sphinx.ext.githubpages", "tools.site.finish"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as GitHub names them
myst_html_meta = {"description": "The MAML paper, reviewed: chapters with code, figures and results to read online."}
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("scroll.js", {"defer": "defer"})]
html_favicon = "static/icon.svg"
html_math_renderer = "mathml"
html_permalinks_icon = "#"
html_copy_source = html_show_sourcelink = html_show_sphinx = html_show_copyright = html_use_index = False
highlight_language = "text"
