"""The book's settings; ``tools/book.py`` builds it. Nothing in it is fetched: no script, style or font from elsewhere."""

from __future__ import annotations

project, author, language = "nibkit", "the nibkit authors", "en"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "tools.extension",
]
root_doc = "docs/index"
exclude_patterns = ["data/recipes"]

nb_execution_mode = "off"  # notebooks are shown with the outputs that they hold
nb_render_markdown_format = "myst"  # so that links in printed markdown are followed, too
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # the scripts would come from a network
myst_enable_extensions = ["amsmath", "dollarmath"]
bibtex_bibfiles, bibtex_cite_id, bibtex_default_style = ["references.bib"], "{key}", "plain"
myst_dmath_double_inline = True
myst_heading_anchors = 3
mathjax_path = "mathjax/tex-svg.js"

html_theme = "sphinx_book_theme"
html_title = "nibkit"
html_static_path, html_extra_path = ["_static"], ["_extra"]
html_css_files = ["book.css"]
html_context = {"default_mode": "auto"}
html_show_copyright = html_show_sphinx = False
html_show_search_summary = False  # they would be fetched, which no browser does with files
html_theme_options = {"show_toc_level": 2, "navbar_persistent": []}
smartquotes_action = "D"  # dashes alone: quotes stay as they are written

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
add_module_names = toc_object_entries = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 100
