"""Sphinx configuration of the static site: built from published notebooks, nothing executed, nothing loaded from elsewhere."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "Adversarial machine learning that you run"
author = "The adversarial machine learning course contributors"
copyright = "the course contributors; text CC BY 4.0, code Apache 2.0"
language = "en"

extensions = ["myst_nb", "svgmath", "alttext"]
html_theme = "furo"
html_title = "Adversarial machine learning"
html_static_path = [str(HERE / "_static")]
templates_path = [str(HERE / "_templates")]
html_css_files = ["book.css"]
html_show_sphinx = False  # the theme would link to other sites
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "svg"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072B2", "color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
    "navigation_with_keys": True,
}

nb_execution_mode = "off"  # the numbers are those that the runner published
nb_merge_streams = True
nb_code_prompt_show = "Show the {type}"
nb_code_prompt_hide = "Hide the {type}"
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
myst_update_mathjax = False
suppress_warnings = ["mystnb.unknown_mime_type"]  # the machine-readable twins of results
