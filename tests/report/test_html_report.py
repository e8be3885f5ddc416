"""The page: it stands alone, it can be read by everyone, and it hides nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from lowcarb.report.html import render_html
from lowcarb.report.page import prose, safe_link, unbroken

VOID = {"meta", "br", "wbr", "link", "img", "input", "hr"}
LOADING = {"script", "link", "img", "iframe", "object", "embed", "audio", "video", "base", "form", "source", "use"}


class Page(HTMLParser):
    """The elements of a page in order, its text, and whether all that opens is closed."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.stack, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.stack)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.stack)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.texts.append(data)

    @property
    def text(self):
        """All that is shown, with plain spaces."""
        return re.sub(r"\s+", " ", "".join(self.texts).replace("\u2060", ""))

    def all(self, tag):
        """The attributes of all elements of a name."""
        return [attributes for name, attributes, _ in self.elements if name == tag]

    def names(self):
        """The elements' names, in order."""
        return [name for name, *_ in self.elements]


@pytest.fixture
def page(document):
    return Page(render_html(document))


def test_page_is_well_formed_whatever_is_missing(variant):
    page = Page(render_html(variant))

    assert page.names()[0] == "html"
    assert "nan" not in re.findall(r"[a-z]+", page.text.lower())
    assert "None " not in page.text.replace("None is known", "")


def test_page_loads_nothing(variant):
    page = Page(render_html(variant))

    assert LOADING.isdisjoint(page.names())
    for name, attributes, _ in page.elements:
        assert not {"src", "srcset", "data", "background", "xlink:href", "style"} & attributes.keys()
        assert not [key for key in attributes if key.startswith("on")]
        assert name == "a" or "href" not in attributes


def test_style_sheet_loads_nothing(document):
    style = re.search(r"<style>(.*?)</style>", render_html(document), re.DOTALL).group(1)

    assert "url(" not in style
    assert "@import" not in style


def test_links_lead_to_sections_or_sources(page, document):
    links = {one["href"] for one in page.all("a")}
    anchors = {f"#{attributes['id']}" for _, attributes, _ in page.elements if "id" in attributes}

    assert {link for link in links if not link.startswith("#")} == {source["url"] for source in document["sources"]}
    assert {link for link in links if link.startswith("#")} <= anchors


def test_ids_are_unique(variant):
    ids = [attributes["id"] for _, attributes, _ in Page(render_html(variant)).elements if "id" in attributes]

    assert len(ids) == len(set(ids))


def test_headings_are_in_order(variant):
    levels = [int(name[1]) for name in Page(render_html(variant)).names() if re.fullmatch(r"h[1-6]", name)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_page_has_landmarks_a_language_and_a_skip_link_first(page):
    assert {"header", "nav", "main", "footer"} <= set(page.names())
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("a")[0] == {"class": "skip", "href": "#answer"}


def test_each_figure_has_a_title_a_description_and_a_table_after_it(page):
    names = page.names()
    figures = [index for index, name in enumerate(names) if name == "svg"]

    assert len(figures) == 12  # six figures, each for a page and for a telephone
    for index in figures:
        attributes, following = page.elements[index][1], page.elements[index + 1 : index + 3]
        assert attributes["role"] == "img"
        assert [name for name, *_ in following] == ["title", "desc"]
        assert attributes["aria-labelledby"] == following[0][1]["id"]
        assert attributes["aria-describedby"] == following[1][1]["id"]
        after = names[index + 1 :]
        assert "table" in after[: after.index("section") if "section" in after else None]


def test_each_table_has_a_caption_and_scopes(variant):
    page = Page(render_html(variant))

    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert {one.get("scope") for one in page.all("th")} <= {"col", "row", "colgroup"}


def test_every_verdict_benefit_drawback_and_reason_is_there(page, document):
    for one in document["comparisons"]:
        for text in (one["verdict"], *one["benefits"], *one["drawbacks"], one["reason"]):
            assert text in page.text


def test_every_finding_and_source_is_there(page, document):
    for one in document["checks"]:
        assert one["message"].replace("`", "") in page.text
        assert one["remedy"] in page.text
    for one in document["sources"]:
        assert one["title"] in page.text


def test_interrupted_trial_and_its_energy_are_not_hidden(page):
    assert "1 trial ended without a result" in page.text
    assert "distilbert/native seed 2: interrupted, attempt 1: ended by SIGTERM" in page.text
    assert "20 J went into attempts without a result" in page.text


def test_note_on_an_undeclared_site_is_shown_only_then(make):
    assert "No site was declared" in render_html(make.document(declared=False))
    assert "No site was declared" not in render_html(make.document())


def test_share_that_was_measured_is_said_in_words(make):
    document = make.document()
    for share, words in ((0.0, "no energy counter was read"), (0.72, "72 % measured"), (1.0, "100 % measured")):
        document["totals"]["measured_share"] = share

        assert words in Page(render_html(document)).text


def test_projections_are_called_projected(page):
    assert "Projected, not measured" in page.text
    assert "asks in exchange" in page.text


def test_from_scratch_arm_is_labelled(make):
    page = Page(render_html(make.document(from_scratch=("distilbert/native",))))

    assert "distilbert/native (from scratch)" in page.text
    assert "is not compared in F1, since distilbert starts from scratch" in page.text


def test_title_can_be_given(document):
    assert "<h1>Another &lt;title&gt;</h1>" in render_html(document, title="Another <title>")


def test_hostile_names_add_no_element(hostile):
    """Only the <wbr> after a slash and the <code> of a text in backticks may follow from what a name holds."""
    page = Page(render_html(hostile))
    harmless = {
        "html", "head", "meta", "title", "style", "body", "a", "div", "header", "p", "h1", "h2", "h3", "h4", "nav",
        "ul", "li", "main", "section", "span", "dl", "dt", "dd", "small", "strong", "table", "caption", "thead",
        "tbody", "tr", "th", "td", "figure", "figcaption", "details", "summary", "article", "ol", "var", "br", "wbr",
        "code", "footer", "svg", "desc", "g", "text", "tspan", "line", "rect", "circle", "path",
    }  # fmt: skip

    assert set(page.names()) <= harmless
    assert not [key for _, attributes, _ in page.elements for key in attributes if key.startswith("on")]
    assert "49" not in page.text.split("Skip to the answer")[1].split("In short")[0]


def test_hostile_address_is_no_link(hostile):
    links = [one["href"] for one in Page(render_html(hostile)).all("a")]

    assert not [link for link in links if not link.startswith("#")]


def test_page_can_be_written(hostile):
    assert render_html(hostile).encode("utf-8")


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://ember-energy.org/x", "https://ember-energy.org/x"),
        ("http://example.org", "http://example.org"),
        ("javascript:alert(1)", ""),
        ("JavaScript:alert(1)", ""),
        ("data:text/html,x", ""),
        (" javascript:alert(1)", ""),
        ("page.html", ""),
        ("http://[broken", ""),
        ("", ""),
    ],
)
def test_only_addresses_of_the_web_are_links(url, link):
    assert safe_link(url) == link


def test_prose_sets_code_apart():
    assert prose("give `a b` or --site to it") == [
        ("give ", False), ("a b", True), (" or ", False), ("--site", True), (" to it", False),
    ]  # fmt: skip


def test_numbers_keep_their_units():
    assert unbroken("49 % less (48–51 %) for 3 s") == "49\u00a0% less (48\u2060–\u206051\u00a0%) for 3\u00a0s"
