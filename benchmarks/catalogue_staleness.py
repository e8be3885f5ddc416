"""Print the catalogue's sources, the longest unread first: `python benchmarks/catalogue_staleness.py`."""

from __future__ import annotations

from datetime import date

from lowcarb.catalogue import Catalogue


def day(text: str) -> date | None:
    """The last day that a year, a month or a day in ISO form may mean; None of any other text."""
    for ending in ("", "-28", "-12-31"):
        try:
            return date.fromisoformat(text + ending)
        except ValueError:
            continue
    return None


def main() -> None:
    """Print days since reading, days since publication, and the source."""
    today = date.today()
    ages = []
    for source in Catalogue.load().sources():
        read, published = (
            (today - when).days if when else None for when in (day(source.retrieved), day(source.published))
        )
        ages.append((read is not None, -(read or 0), -max(published or 0, 0), source))
    print(f"{'read':>6} {'published':>9}  days ago")
    for was_read, read, published, source in sorted(ages, key=lambda age: (*age[:3], age[3].id)):
        print(f"{-read if was_read else 'never':>6} {-published:>9}  {source.id}: {source.title}, {source.publisher}")


if __name__ == "__main__":
    main()
