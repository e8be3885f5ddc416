"""What the dashboard works with, made once at the edge and handed down."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from lowcarb.catalogue import Catalogue
from lowcarb.core.site import Site
from lowcarb.dashboard.guard import Access
from lowcarb.dashboard.live import LiveRuns
from lowcarb.dashboard.problems import Problem
from lowcarb.ledger.base import Ledger, Run


@dataclass(frozen=True, slots=True)
class Setup:
    """The ledger, what is known of the world, and who may ask."""

    ledger: Ledger
    catalogue: Catalogue
    live: LiveRuns
    access: Access
    site: str | None = None
    """Id of the site that reports and exports are priced at; None: where each run was."""

    def place(self, named: str | None) -> Site | None:
        """The site to price at. Raises CatalogueError."""
        name = named or self.site
        return self.catalogue.site(name) if name else None


def setup_of(request: Request) -> Setup:
    """What the app was made with."""
    found: Setup = request.app.state.setup
    return found


def run_of(setup: Setup, run_id: str) -> Run:
    """The run of an id.

    Raises:
        Problem: there is none.
    """
    run = setup.ledger.run(run_id)
    if run is None or not run.id.startswith(run_id):
        raise Problem(404, f"the ledger has no run {run_id}", "run")
    return run
