"""The serving half of `lowcarb forecast`: the training shared out over requests, and when a smaller model pays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from lowcarb.catalogue import Catalogue
from lowcarb.cli.jobs import Outcome, Wanted
from lowcarb.core.documents import plain
from lowcarb.core.estimate import Estimate
from lowcarb.core.serving import BreakEven, Request, break_even, request_j, request_ratio, shared_out
from lowcarb.errors import SettingError
from lowcarb.report.format import quantity


@dataclass(frozen=True, slots=True)
class Serving:
    """What answering requests adds to a training, on the device and at the site of its first outcome."""

    device: str
    requests: float | None
    request: Request
    request_j: Estimate
    """One request, host included [J]."""
    shared_j: Estimate | None
    """One request with its share of the training [J]; None where nobody said how many there will be."""
    instead_of: str | None
    break_even: BreakEven | None
    """None where no larger model is replaced."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        found = self.break_even
        return {
            "device": self.device,
            "requests": self.requests,
            "request": asdict(self.request),
            "request_j": self.request_j.as_dict(),
            "request_with_training_j": self.shared_j.as_dict() if self.shared_j else None,
            "instead_of": self.instead_of,
            "break_even_requests": plain({"low": found.low, "mid": found.mid, "high": found.high}) if found else None,
            "request_ratio": found.ratio.as_dict() if found else None,
        }

    def lines(self) -> list[str]:
        """The same for people."""
        shape = f"{self.request.prompt_tokens:g} tokens read, {self.request.output_tokens:g} written"
        said = [f"A request on {self.device} ({shape}): {quantity(self.request_j, 'J')}, assumed"]
        if self.shared_j is not None:
            said.append(
                f"with its share of the training, over {self.requests:g} of them: {quantity(self.shared_j, 'J')}"
            )
        found = self.break_even
        if found is not None:
            if found.mid is None:
                said.append(f"Training it to replace {self.instead_of} does not pay: a request takes as much or more")
            else:
                until = f"{found.high:.2g}" if found.high is not None else "never, perhaps"
                said.append(
                    f"Training it to replace {self.instead_of} pays after {found.mid:.2g} requests "
                    f"({found.low:.2g} - {until})"
                )
        return said


def serving(
    catalogue: Catalogue, wanted: Wanted, outcome: Outcome, *, requests: float | None, prompt_tokens: float,
    output_tokens: float, instead_of: str | None,
) -> Serving:  # fmt: skip
    """What requests cost on an outcome's device, beside its training.

    Raises:
        SettingError: a number of requests or tokens that cannot be.
        CatalogueError: no such larger model.
    """
    for name, value in (("prompt-tokens", prompt_tokens), ("output-tokens", output_tokens), ("requests", requests)):
        if value is not None and not isfinite(value):
            raise SettingError(name, value, "a finite number")
    request = Request(prompt_tokens, output_tokens)
    active = wanted.active_params or wanted.params
    device, training = outcome.device, outcome.footprint.energy_j
    one = request_j(wanted.params, active, device, request)
    found = None
    if instead_of is not None:
        larger, larger_active = _parameters(catalogue, instead_of)
        ratio = request_ratio(wanted.params, active, larger, larger_active, request, device)
        found = break_even(training, request_j(larger, larger_active, device, request), ratio)
    shared = shared_out(training, one, requests) if requests is not None else None
    return Serving(device.id, requests, request, one, shared, instead_of, found)


def _parameters(catalogue: Catalogue, name: str) -> tuple[float, float]:
    """All and active parameters of a model by id, or of a number."""
    try:
        params = float(name)
    except ValueError:
        facts = catalogue.model(name)
        return float(facts.parameters), float(facts.active_parameters)
    if not params > 0:
        raise SettingError("instead-of", name, "a model of the catalogue, or parameters above 0")
    return params, params
