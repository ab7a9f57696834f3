"""The ledger's filter (docs/_static/ledger.js) on a page of a few rows, in a browser. On the book's own page: test_book.py."""

import re
from pathlib import Path

import pytest
from test_book import BROWSER, ROOT, in_a_browser

PAGE = """<!DOCTYPE html><html><body><article><section><h2>Holds</h2><section><h3>What holds: our own findings</h3><table><tbody>
<tr id="row-A"><td><a id="A"></a><a href="../notebooks/03_a.html">A</a></td></tr>
<tr id="row-B"><td><a id="B"></a><a href="../notebooks/05_b.html">B</a></td></tr>
<tr id="row-C"><td><a id="C"></a>without a notebook</td></tr></tbody></table></section></section>
<section id="other"><h2>Fails</h2><section><h3>What fails: our own findings</h3><table><tbody>
<tr id="row-D"><td><a id="D"></a><a href="../notebooks/05_b.html">D</a></td></tr></tbody></table></section></section></article>
<script>SCRIPT</script><script>addEventListener("load", () => { if ("LINK") location.hash = "LINK"; });</script></body></html>"""


def rows_shown(folder: Path, hash: str, link: str = "") -> tuple[str, str]:
    """The rows that a reader sees who opens the page at a hash and then follows a link to an anchor; and the count above."""
    script = (ROOT / "docs/_static/ledger.js").read_text(encoding="utf-8")
    page = folder / "page.html"
    page.write_text(PAGE.replace("SCRIPT", script).replace("LINK", link), encoding="utf-8")
    html = in_a_browser(page.as_uri() + hash, folder / "profile")
    return "".join(re.findall(r'<tr id="row-(\w)">', html)), re.search("<output>(.*?)</output>", html)[1]


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
@pytest.mark.parametrize(
    "hash, link, rows",
    [
        ("", "", "ABCD"),  # C names no notebook: it's a row like the others
        ("#filter?notebook=03", "", "A"),
        ("#filter?notebook=03", "A", "A"),  # what is shown is found: the filter stays
        ("#filter?notebook=03", "B", "ABCD"),
        ("#filter?verdict=holds&text=a", "other", "ABCD"),  # a whole section was hidden
    ],
)
def test_a_link_leads_to_a_row_that_the_filter_hid(tmp_path, hash, link, rows):
    assert rows_shown(tmp_path, hash, link) == (rows, f"{len(rows)} of 4 claims")
