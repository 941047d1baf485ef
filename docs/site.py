"""What the site holds beside docs/: the READMEs of the packages, CONTRIBUTING and CHANGELOG; a hook of MkDocs.

The pages link to one another as files of the repository do, so that they can be read there, too. Here each link is
turned to where its target lies in the site; what has no page there, such as a module, keeps its name alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ADDED = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    **{
        path.relative_to(ROOT).as_posix(): f"packages/{path.parent.name}.md"
        for folder in ("envs", "plugins")
        for path in sorted(ROOT.glob(f"{folder}/*/README.md"))
    },
}
"""Files of the repository, and the pages that they become."""

_CODE_OR_LINK = re.compile(r"^```.*?^```$|(!?)\[([^\]\n]*)\]\(([^)\s]+)\)|`[^`\n]*`", re.M | re.S)


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages that lie elsewhere, and the pictures outside docs/ that any page shows."""
    for source, page in ADDED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for source in (*ADDED, *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))):
        for found in _CODE_OR_LINK.finditer((ROOT / source).read_text(encoding="utf-8")):
            picture = _in_repository(source, found[3] or "")
            if picture.endswith(".png") and not picture.startswith("docs/"):
                place = f"packages/{picture}"
                if files.get_file_from_path(place) is None:
                    files.append(File.generated(config, place, abs_src_path=str(ROOT / picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn each link to where its target lies in the site; code stays as it is."""
    place = page.file.src_uri
    source = next((source for source, added in ADDED.items() if added == place), f"docs/{place}")

    def turned(found: re.Match[str]) -> str:
        bang, text, target = found.groups()
        if target is None or "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        file, hash_, anchor = target.partition("#")
        where = _in_site(_in_repository(source, file))
        if where is None:
            return str(text)
        return f"{bang}[{text}]({os.path.relpath(where, PurePosixPath(place).parent)}{hash_}{anchor})"

    return _CODE_OR_LINK.sub(turned, markdown)


def _in_repository(source: str, target: str) -> str:
    """Where a link of a file leads, from the root."""
    return os.path.normpath(PurePosixPath(source).parent / target).replace(os.sep, "/")


def _in_site(file: str) -> str | None:
    """Where a file of the repository lies in the site; None if it is not there."""
    if file in ADDED:
        return ADDED[file]
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    if file == "README.md":
        return "README.md"
    return f"packages/{file}" if file.endswith(".png") else None
