"""BibTeX of the sources that the figures rest on: one `@misc` each, with keys that any BibTeX takes."""

from __future__ import annotations

import re
import unicodedata

from lowcarb.core.source import Source
from lowcarb.report.exports import words
from lowcarb.report.exports.account import Account
from lowcarb.report.exports.tex import escaped

PREFIX = "lowcarb-"
"""Before each key, so that it meets none of the reader's own."""


def render_bibtex(account: Account) -> str:
    """The entries, in the order in which the account names its sources; empty but for a remark where it names none.

    A source of whose date only the words are known has no `year`: they stand in its note.
    """
    head = f"Sources of the figures of {words.MAKER}. The figures hold for: {_remark(account.boundary)}\n"
    measured = f"Energy: {_remark(words.measured(account))}.\n"
    taken: set[str] = set()
    return "\n".join([head + measured, *(_entry(source, _key(source, taken)) for source in account.sources)])


def _remark(text: str) -> str:
    """What stands between entries: BibTeX passes over it, but for an at sign."""
    return words.one_line(text, words.MOST_OF_TEXT).replace("@", "(at)")


def _entry(source: Source, key: str) -> str:
    year = re.match(r"\d{4}", source.published)
    url = words.link(source.url)
    note = [f"Published {source.published}"] if not year and source.published else []
    note += [f"retrieved {source.retrieved}"] if source.retrieved else []
    fields = {
        "author": f"{{{escaped(source.publisher)}}}",
        "title": f"{{{escaped(source.title)}}}",
        "year": year[0] if year else None,
        "howpublished": rf"\url{{{url}}}" if url else None,
        "note": escaped("; ".join(note)) if note else None,
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return f"@misc{{{key},\n" + "\n".join(lines) + "\n}\n"


def _key(source: Source, taken: set[str]) -> str:
    """A key of small letters, digits and hyphens that no other source has."""
    ascii_ = unicodedata.normalize("NFKD", source.id).encode("ascii", "ignore").decode()
    stem = PREFIX + (re.sub(r"[^a-z0-9]+", "-", ascii_.lower()).strip("-") or "source")
    key, number = stem, 2
    while key in taken:
        key, number = f"{stem}-{number}", number + 1
    taken.add(key)
    return key
