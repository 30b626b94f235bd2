"""Sphinx configuration."""

import tomllib as _tomllib
from pathlib import Path as _Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "cascade"
author = "the cascade contributors"
copyright = "2026, the cascade contributors"  # noqa: A001  # Sphinx's name
_pyproject = (_Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
release = _tomllib.loads(_pyproject)["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "cascade"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = True
napoleon_use_ivar = True


def setup(app: Sphinx) -> None:
    """Show mermaid diagrams as their text. GitHub draws them; here that would need a script from elsewhere."""
    app.add_lexer("mermaid", TextLexer)
