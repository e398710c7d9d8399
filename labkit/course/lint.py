"""What a chapter's source must not contain: each rule returns problems with their line, none raises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit.course import percent

LONGEST_CELL = 45  # lines; longer code belongs in labkit

# A number is taken for a measured one when it is a percentage or has decimals. Settings and formulas are exempt because
# they are written as code (`eps=0.3`) or mathematics ($\epsilon = 0.3$), sources because they are links or arXiv ids.
_MEASURED = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)?\s?(?:%|percent\b|per cent\b)|(?<![\w.])\d+\.\d+(?![\w.])")
_EXEMPT = (
    re.compile(r"```.*?```|~~~.*?~~~", re.S),  # code blocks
    re.compile(r"`[^`\n]*`"),  # code
    re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S),  # mathematics
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"\]\([^)]*\)|<?https?://\S+"),  # links
    re.compile(r"\b(?:arXiv[:\s]\s*)?\d{4}\.\d{4,5}(?:v\d+)?\b", re.I),
    re.compile(r"\b(?:python|pytorch|torch|cuda|version|section|chapter|table|figure|algorithm)s?\s+v?\d+(?:\.\d+)+\b", re.I),
    re.compile(r"^#+\s+\d+(?:\.\d+)*\b", re.M),  # numbered headings
)
_HEADING = re.compile(r"^(#+)\s+(.*)$", re.M)


def lint(path: Path) -> list[str]:
    """Return the problems of one chapter's source, each as "name, line n: what, and what to do"."""
    try:
        source = percent.read(path)
    except (percent.PercentError, UnicodeDecodeError) as error:
        return [str(error)]
    problems = [*_header(source.header), *_parameters(source.cells), *_begins(source.cells, path.stem), *_code(source.cells)]
    problems += _numbers(source.cells)
    return [f"{path.name}, line {line}: {text}" for line, text in sorted(problems)]


def _header(header: str) -> Iterator[tuple[int, str]]:
    import yaml

    try:
        values: dict[str, Any] = yaml.safe_load(header) or {}
    except yaml.YAMLError as error:
        yield 1, f"the header is not YAML ({error})"
        return
    values = values.get("jupyter") or values
    kernelspec = values.get("kernelspec") or {}
    missing = [key for key in ("display_name", "language", "name") if not kernelspec.get(key)]
    if missing:
        yield 1, f"the header's kernelspec lacks {', '.join(missing)}; papermill needs it"
    jupytext = values.get("jupytext") or {}
    if (jupytext.get("text_representation") or {}).get("format_name") != "percent":
        yield 1, "the header's jupytext.text_representation.format_name is not percent"
    if "formats" in jupytext:
        yield 1, "the header sets formats, which would override jupytext.toml"


def _parameters(cells: list[percent.Cell]) -> Iterator[tuple[int, str]]:
    code = [cell for cell in cells if cell.kind == "code"]
    tagged = [cell for cell in code if "parameters" in cell.tags]
    if len(tagged) != 1 or not code or tagged[0] is not code[0]:
        yield (tagged[0].line if tagged else 1), f"the first code cell, and only it, is tagged parameters ({len(tagged)} are)"
        return
    names: dict[str, object] = {}
    try:
        for node in ast.parse(tagged[0].source).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names[node.targets[0].id] = ast.literal_eval(node.value)
    except (SyntaxError, ValueError):
        pass
    if names != {"PROFILE": "quick", "SEED": 0}:
        yield tagged[0].line, f'the parameters are PROFILE = "quick" and SEED = 0, not {names}'


def _begins(cells: list[percent.Cell], name: str) -> Iterator[tuple[int, str]]:
    code = [cell for cell in cells if cell.kind == "code"]
    if len(code) < 2 or f'begin("{name}", PROFILE, SEED)' not in code[1].source:
        yield (code[1].line if len(code) > 1 else 1), f'the second code cell calls begin("{name}", PROFILE, SEED)'


def _code(cells: list[percent.Cell]) -> Iterator[tuple[int, str]]:
    for cell in cells:
        if cell.kind != "code":
            continue
        count = cell.source.count("\n") + 1
        if count > LONGEST_CELL:
            yield cell.line, f"a code cell of {count} lines; over {LONGEST_CELL} belongs in labkit"
        for offset, row in enumerate(cell.source.split("\n"), cell.line + 1):
            text = row.strip()
            if re.match(r"#?\s*[!%]\s*(?:\w|%)", text):
                what = "installs packages" if re.search(r"\b(pip|conda|uv)\b", text) else "is a magic"
                yield offset, f"{text!r} {what}; chapters are plain Python, and the environment is made by make lab"
        try:
            tree = ast.parse(cell.source)
        except SyntaxError as error:
            yield cell.line + (error.lineno or 1), f"not Python: {error.msg}"
            continue
        for node in ast.walk(tree):
            line = cell.line + getattr(node, "lineno", 1)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"cuda(:\d+)?", node.value):
                yield line, 'a literal "cuda"; write lab.device, which is chosen once'
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
                yield line, "a call of .cuda(); write .to(lab.device)"
            elif isinstance(node, ast.Name) and node.id == "get_ipython":
                yield line, "get_ipython() is not there in a plain run; chapters do without it"


def _numbers(cells: list[percent.Cell]) -> Iterator[tuple[int, str]]:
    cited_level = 0  # > 0 inside the section "Reported numbers", which quotes papers
    for cell in cells:
        if cell.kind != "markdown":
            continue
        for marks, title in _HEADING.findall(cell.source):
            if "reported numbers" in title.lower():
                cited_level = len(marks)
            elif len(marks) <= cited_level:
                cited_level = 0
        if cited_level or "cited" in cell.tags:
            continue
        text = cell.source
        for pattern in _EXEMPT:
            # Blanked, not cut, so that line numbers stay true.
            text = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
        for match in _MEASURED.finditer(text):
            line = cell.line + 1 + text.count("\n", 0, match.start())
            yield line, (
                f"{match.group().strip()!r} is typed by hand; let code say() measured numbers, write settings as code or "
                "mathematics, and tag a cell that quotes a source `cited`"
            )
