"""Figures keep the alt text that stands in the notebook's output; a figure without one is a warning, which stops the build."""

from __future__ import annotations

from docutils import nodes
from myst_nb.core import render
from sphinx.application import Sphinx


def _with_alt(original):  # type: ignore[no-untyped-def]
    def render_image(self, data) -> list[nodes.Element]:  # type: ignore[no-untyped-def]
        made = original(self, data)
        alt = data.output_metadata.get(data.mime_type, {}).get("alt", "")
        if not alt:
            self.logger.warning("a figure has no alt text", subtype="alttext", line=data.line)
        for node in made:
            node["alt"] = alt
        return made

    return render_image


def setup(app: Sphinx) -> dict[str, bool]:
    base = render.NbElementRenderer
    if not getattr(base, "_labkit_alt", False):  # myst-nb reads the alt text of a cell only, and a cell may show several figures
        base.render_image = _with_alt(base.render_image)
        base._labkit_alt = True
    return {"parallel_read_safe": True, "parallel_write_safe": True}
