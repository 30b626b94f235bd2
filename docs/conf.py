"""Sphinx configuration."""

from importlib.metadata import version as _version

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "cascade"
author = "the cascade contributors"
copyright = "2026, the cascade contributors"  # noqa: A001  # Sphinx's name
release = _version("cascade-anyio")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "cascade"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = True


def setup(app: Sphinx) -> None:
    """Show mermaid diagrams as their text. GitHub draws them; here that would need a script from elsewhere."""
    app.add_lexer("mermaid", TextLexer)
