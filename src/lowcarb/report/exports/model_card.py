"""Hugging Face model card: `co2_eq_emissions` in grams, and a section on the environmental impact in the body.

A card is edited as text, between our own marks, so that every other key, every comment and the body stay byte for byte
as they were. What `huggingface_hub` reads in the front matter is checked before and after the edit.
(huggingface.co/docs/hub/model-cards-co2: the number is in grams.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import yaml

from lowcarb.errors import SettingError
from lowcarb.report.exports import words
from lowcarb.report.exports.account import Account
from lowcarb.report.format import exactly, number, quantity

KEY = "co2_eq_emissions"
BEGIN, END = "# lowcarb: begin", "# lowcarb: end"
BODY_BEGIN, BODY_END = "<!-- lowcarb: begin -->", "<!-- lowcarb: end -->"
DIGITS = 4
"""Significant digits of the grams."""
INTERVALS = "Intervals are meant to hold the truth eight times out of ten."
BYTE_ORDER_MARK = "\ufeff"

_NEWLINE = r"(?>\r\n|\r|\n)"
# What huggingface_hub takes for front matter (2.x), after a byte order mark, which it drops.
_FRONT = re.compile(rf"\A(\s*---{_NEWLINE})([\S\s]*?)({_NEWLINE}---[ \t]*(?=\r\n|\n|\Z))")
_EMPTY_FRONT = re.compile(rf"\A(\s*---{_NEWLINE})()(---[ \t]*(?=\r\n|\n|\Z))")
_OURS = re.compile(rf"^{BEGIN}[^\r\n]*{_NEWLINE}[\S\s]*?^{END}[^\r\n]*", re.MULTILINE)
_BODY_OURS = re.compile(f"{re.escape(BODY_BEGIN)}[\\S\\s]*?{re.escape(BODY_END)}")
# A key with what belongs to it: all that follows and is indented, or blank before something indented.
_UNMARKED = re.compile(
    rf"""^(?:{KEY}|"{KEY}"|'{KEY}')[ \t]*:[^\r\n]*(?:{_NEWLINE}(?:[ \t]*{_NEWLINE})*[ \t]+[^\s][^\r\n]*)*""",
    re.MULTILINE,
)


def render_model_card(account: Account) -> str:
    """A new card with the front matter and the section, and nothing else.

    Raises:
        SettingError: no carbon is known.
    """
    return edit_card("", account)


def edit_card(card: str, account: Account, *, force: bool = False) -> str:
    """The card with our figures in it; what we wrote before is replaced, all the rest stays as it is.

    Args:
        card: its text, newlines as they are in the file.
        account: what is told.
        force: replace a `co2_eq_emissions` that somebody else wrote.

    Raises:
        SettingError: no carbon is known; somebody else's `co2_eq_emissions` is there; the front matter cannot be read;
            or one of our marks has lost the other.
    """
    mark = BYTE_ORDER_MARK if card.startswith(BYTE_ORDER_MARK) else ""
    text = card.removeprefix(mark)
    newline = _newline(text)
    front, section = (part.replace("\n", newline) for part in (front_matter(account), body_section(account)))
    found = _FRONT.match(text) or _EMPTY_FRONT.match(text)
    if found is None:
        rest = f"{newline}{text}" if text else ""
        head, body = f"---{newline}{front}{newline}---{newline}", rest
    else:
        inside = found[2]
        changed = _with_front(inside, front, newline, force=force)
        _same_besides(inside, changed)
        closing = found[3] if found[3][0] in "\r\n" else newline + found[3]
        head, body = found[1] + changed + closing, text[found.end() :]
    return mark + head + _with_section(head, body, section, newline)


def front_matter(account: Account) -> str:
    """Our lines of the front matter, marks and all, without a newline at the end.

    Raises:
        SettingError: no carbon is known.
    """
    whole, place = account.whole, account.place
    if whole is None:
        raise SettingError("model card", account.title, "a run or study of which carbon is known")
    site = account.site
    basis = [words.measured(account), f"covers {whole.scope}"]
    basis.append(f"electricity {site.accounting}, PUE {number(site.pue.mid)}" if site else words.where(account))
    rows = {
        "source": f"{words.MAKER}; {'; '.join(basis)}; {words.attempts(account)}",
        "training_type": account.trained.training_type,
        "geographical_location": words.one_line(place.name) if place else None,
        "hardware_used": words.hardware(account) or None,
    }
    lines = [
        f"{BEGIN} (made by `lowcarb report --format model-card`, which replaces what is between these lines)",
        f"{KEY}:",
        f"  emissions: {plain_number(whole.operational_g.mid)}  # grams of CO2e",
        *(f"  {name}: {quoted(value)}" for name, value in rows.items() if value),
        END,
    ]
    return "\n".join(lines)


def body_section(account: Account) -> str:
    """Our section of the body, marks and all, without a newline at the end."""
    whole, training = account.whole, account.training
    rows = [("Carbon of the electricity", _figure(whole, lambda one: one.operational_g, "g", " CO₂e"))]
    if training is not None:
        rows.append(("of it, training alone", _figure(training, lambda one: one.operational_g, "g", " CO₂e")))
    rows += [
        ("Carbon of making the hardware, its share", _figure(whole, lambda one: one.embodied_g, "g", " CO₂e")),
        ("Energy", _figure(whole, lambda one: one.energy_j, "J", "")),
        ("Machine time", _figure(whole, lambda one: one.duration_s, "s", "")),
        ("Hardware", words.hardware(account) or "not known"),
        ("Machine", words.machine(account) or "not known"),
        ("Electricity", words.where(account)),
        ("Measured", words.measured(account)),
        ("Attempts, all counted", words.attempts(account)),
    ]
    if account.trained.tokens:
        rows.append(("Tokens trained on, in the results", number(account.trained.tokens)))
    if account.trained.flops:
        rows.append(("Computation, in the results", quantity(exactly(account.trained.flops), "FLOP")))
    table = [f"| {name} | {words.markdown(value)} |" for name, value in rows]
    sources = [
        f"- {words.markdown(one.title)}, {words.markdown(one.publisher)}{f', <{url}>' if url else ''}"
        for one in account.sources
        for url in [words.link(one.url)]
    ]
    lines = [
        BODY_BEGIN,
        "",
        "## Environmental impact",
        "",
        "| figure | value |",
        "| --- | --- |",
        *table,
        "",
        words.markdown(account.boundary, words.MOST_OF_TEXT),
        *(f"\n{words.markdown(note[:1].upper() + note[1:])}." for note in account.notes),
        "",
        f"{INTERVALS} Made by {words.MAKER}.",
        *(["", "Sources:", "", *sources] if sources else []),
        "",
        BODY_END,
    ]
    return "\n".join(lines)


def plain_number(value: float) -> str:
    """A number with few digits and no exponent: YAML 1.1 takes `1e-05` for a text."""
    rounded = Decimal(f"{value:.{DIGITS - 1}e}")
    return f"{rounded.normalize():f}" if rounded else "0"


def quoted(text: str) -> str:
    """A text as a double-quoted YAML scalar, in which nothing is taken for YAML or HTML (YAML 1.2, section 5.7)."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    code = ord(character)
    if (
        (0x20 <= code < 0x7F and character not in "<>")
        or (0xA0 <= code <= 0xFFFD and character.isprintable())
        or code > 0xFFFF
    ):
        return character
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def _figure(footprint: Any, part: Callable[[Any], Any], unit: str, of_what: str) -> str:
    held = part(footprint) if footprint is not None else None
    return "not known" if held is None else f"{quantity(held, unit)}{of_what}, {held.basis}"


def _newline(text: str) -> str:
    """The newline that a text has first; of none, that of Unix."""
    found = re.search(_NEWLINE, text)
    return found[0] if found else "\n"


def _with_front(inside: str, front: str, newline: str, *, force: bool) -> str:
    """The front matter with our lines: in their old place, else at the end."""
    ours = _OURS.findall(inside)
    marks = [len(re.findall(rf"^{mark}", inside, re.MULTILINE)) for mark in (BEGIN, END)]
    if marks != [len(ours)] * 2 or len(ours) > 1:
        raise SettingError("model card", "front matter", f"one `{BEGIN}` and one `{END}` after it, or neither")
    others = _UNMARKED.search(_OURS.sub("", inside))
    if others is not None and not force:
        raise SettingError(
            "model card", others[0].splitlines()[0][: words.MOST_CHARACTERS],
            f"no {KEY} that somebody else wrote; --force replaces it",
        )  # fmt: skip
    if ours:
        kept = inside if others is None else _without_others(inside)
        return _OURS.sub(lambda _: front, kept)
    if others is not None:
        return _UNMARKED.sub(lambda _: front, inside, count=1)
    return f"{inside}{newline}{front}" if inside.strip() else front


def _without_others(inside: str) -> str:
    """The front matter without somebody else's key; our own is kept."""
    begin, end = _OURS.search(inside).span()  # type: ignore[union-attr]  # the caller has found it
    key = re.compile(rf"(?:{_UNMARKED.pattern})(?:{_NEWLINE}|\Z)", re.MULTILINE)
    return key.sub("", inside[:begin]) + inside[begin:end] + key.sub("", inside[end:])


def _same_besides(before: str, after: str) -> None:
    """Check that a reader of YAML finds all other keys as they were, and ours.

    Raises:
        SettingError: it does not; nothing should be written then.
    """
    old, new = _read(before), _read(after)
    if not isinstance(new.get(KEY), dict) or _besides(old) != _besides(new):
        raise SettingError("model card", "front matter", f"plain YAML, key by key, to which {KEY} can be added")


def _besides(front: dict[Any, Any]) -> str:
    # As text, in which a value that is not a number is like itself.
    return repr({name: value for name, value in front.items() if name != KEY})


def _read(inside: str) -> dict[Any, Any]:
    try:
        front = yaml.safe_load(inside)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 2}" if place else ""
        raise SettingError("model card", f"front matter{line}", "YAML that can be read") from error
    if front is not None and not isinstance(front, dict):
        raise SettingError("model card", "front matter", "keys with values")
    return front or {}


def _with_section(head: str, body: str, section: str, newline: str) -> str:
    """The body, which follows the head, with our section: in its old place, else at the end."""
    ours = _BODY_OURS.findall(body)
    if [body.count(BODY_BEGIN), body.count(BODY_END)] != [len(ours)] * 2 or len(ours) > 1:
        raise SettingError("model card", "body", f"one `{BODY_BEGIN}` and one `{BODY_END}` after it, or neither")
    if ours:
        return _BODY_OURS.sub(lambda _: section, body)
    before = head + body
    gap = "" if before.endswith(newline * 2) else newline if before.endswith(newline) else newline * 2
    return f"{body}{gap}{section}{newline}"
