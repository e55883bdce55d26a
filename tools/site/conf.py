"""Sphinx's settings."""

project = html_title = "MAML, reviewed"
extensions = ["myst_parser", "sphinx.ext.githubpages", "tools.site.finish"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("scroll.js", {"defer": "defer"})]
html_math_renderer = "mathml"
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_permalinks_icon = "#"
highlight_language = "text"
html_theme_options = {"navigation_with_keys": False}
