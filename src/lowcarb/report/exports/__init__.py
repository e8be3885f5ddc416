"""Exports: a run or a study in the forms that others ask for. Each names its boundary and its measured share.

`EXPORTS` lists them by the name that `lowcarb report --format` takes. Renderers are imported when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from lowcarb.report.exports.account import Account, account_of

__all__ = ["EXPORTS", "Account", "Export", "account_of"]


@dataclass(frozen=True, slots=True)
class Export:
    """One form."""

    id: str
    title: str
    suffix: str
    """Of a file, with its dot."""
    media_type: str
    render: Callable[[Account], str]
    """The text; raises SettingError where the account lacks what the form cannot do without."""


def _lazy(module: str) -> Callable[[Account], str]:
    """The renderer `render_MODULE` of a module of this package, imported when it is first called."""

    def render(account: Account) -> str:
        text: str = getattr(import_module(f"{__name__}.{module}"), f"render_{module}")(account)
        return text

    return render


EXPORTS: Mapping[str, Export] = {
    one.id: one
    for one in (
        Export("model-card", "Hugging Face model card", ".md", "text/markdown", _lazy("model_card")),
        Export("sci", "Software Carbon Intensity (ISO/IEC 21031:2024)", ".json", "application/json", _lazy("sci")),
        Export("ghg", "GHG Protocol scope 2, location- and market-based", ".json", "application/json", _lazy("ghg")),
        Export("neurips", "NeurIPS checklist: compute resources", ".tex", "application/x-tex", _lazy("neurips")),
        Export("latex", "LaTeX table", ".tex", "application/x-tex", _lazy("latex")),
        Export("bibtex", "BibTeX of the sources", ".bib", "application/x-bibtex", _lazy("bibtex")),
        Export("boamps", "BoAmps 1.1.0", ".json", "application/json", _lazy("boamps")),
        Export("eu-ai-act", "EU AI Act, model documentation", ".md", "text/markdown", _lazy("eu_ai_act")),
        Export("cyclonedx", "CycloneDX ML-BOM", ".cdx.json", "application/vnd.cyclonedx+json", _lazy("cyclonedx")),
        Export("spdx", "SPDX 3 AI profile", ".spdx.json", "application/spdx+json", _lazy("spdx")),
    )
}
