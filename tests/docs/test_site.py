"""The site: every page in its navigation, every link alive, nothing from the network, and a search without a server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
LOADS = {
    ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href"), ("object", "data"),
}  # fmt: skip
"""Attributes that a browser follows by itself."""


class _Tags(HTMLParser):
    """Every attribute of every tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, name, value or "") for name, value in attrs]


def _tags(path: Path) -> list[tuple[str, str, str]]:
    return _Tags(path.read_text(encoding="utf-8")).found


def test_every_page_can_be_reached_from_the_navigation(site: Path) -> None:
    reached = {value for tag, name, value in _tags(site / "index.html") if (tag, name) == ("a", "href")}
    pages = {f"{page.stem}.html" for page in PAGES if page.stem != "README"}
    assert pages <= reached
    assert {f"packages/{path.parent.name}.html" for path in ROOT.glob("envs/*/README.md")} <= reached
    assert {f"packages/{path.parent.name}.html" for path in ROOT.glob("plugins/*/README.md")} <= reached


def test_the_front_page_leads_to_every_page_of_the_documentation() -> None:
    front = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", front)}
    assert {page.name for page in PAGES} - {"README.md"} == linked
    assert "docs/README.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_between_files_of_the_repository_lead_to_pages_of_the_site(site: Path) -> None:
    models = {value for tag, name, value in _tags(site / "models.html") if (tag, name) == ("a", "href")}
    assert "packages/moondream.html" in models
    contributing = {value for tag, name, value in _tags(site / "contributing.html") if name == "href"}
    assert {"environments.html", "models.html"} <= contributing
    assert (site / "report.png").is_file()


def test_no_page_loads_anything_from_the_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    loaded = {
        f"{page.name}: {tag} {value}"
        for page in pages
        for tag, name, value in _tags(page)
        if (tag, name) in LOADS and re.match(r"(\w+:)?//", value)
    }
    assert loaded == set()
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), (
            style
        )


@pytest.mark.browser
def test_a_reader_without_network_or_server_finds_a_word(site: Path, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 1300, "height": 900})
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((site / "index.html").as_uri())
    page.locator("input.md-search__input").click()
    page.keyboard.type("wilson")
    result = page.locator("a.md-search-result__link").first
    result.wait_for(timeout=20_000)
    result.click()
    page.wait_for_url("**/evaluation.html*")
    assert page.locator("h1").inner_text().startswith("Is my result real?")
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_dead_link_a_dead_anchor_and_a_forgotten_page_fail_the_build(
    build: Callable[[Path, Path], CompletedProcess[str]], tmp_path: Path
) -> None:
    # A few pages will do; that the others are missing is complained of, too.
    copy = tmp_path / "checkout"
    (copy / "docs").mkdir(parents=True)
    for name in ("mkdocs.yml", "CONTRIBUTING.md", "CHANGELOG.md", "docs/site.py", "docs/data.md"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "docs" / "forgotten.md").write_text("# Forgotten\n")
    (copy / "docs" / "report.md").write_text("# Report\n\n[gone](gone.md), [nowhere](data.md#nowhere)\n")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    for said in ("forgotten.md", "'gone.md'", "#nowhere"):
        assert said in done.stderr


def test_every_anchor_is_one_where_the_repository_is_read_as_well() -> None:
    dead = []
    for path in (*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("*/*/README.md")):
        prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        for file, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", prose):
            target = path.parent / file if file else path
            if "://" not in file and anchor not in _anchors(target):
                dead.append(f"{path.relative_to(ROOT)}: {file}#{anchor}")
    assert dead == []


def _anchors(path: Path) -> set[str]:
    """What a repository browser calls the headings of a page: lower case, spaces to dashes, no punctuation."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
