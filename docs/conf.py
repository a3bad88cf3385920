"""How Sphinx builds the documentation: `make docs`."""

project = "Saltern"
copyright = "Saltern's authors"
html_title = "Saltern"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nitpicky = True
highlight_language = "none"
smartquotes = False
html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
pygments_style, pygments_dark_style = "friendly", "github-dark"
html_static_path = ["static"]
html_css_files = ["tables.css"]
