"""`lowcarb serve`: the dashboard over a ledger, for this machine alone unless told otherwise."""

from __future__ import annotations

import errno
import socket
from typing import Annotated

import typer

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import LedgerPath, SiteId, say
from lowcarb.cli.ledger import opened
from lowcarb.errors import MissingExtra, SettingError
from lowcarb.ledger import home

Host = Annotated[
    str, typer.Option("--host", help="The address to listen on. Any but this machine's own takes a token.")
]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="The port to listen on.")]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="LOWCARB_TOKEN", help="What who asks must know. Default: made up where needed."),
]
Names = Annotated[
    list[str], typer.Option("--name", help="A name by which this machine is called; repeatable. Its own is known.")
]


def serve(
    *, host: Host = "127.0.0.1", port: Port = 8765, token: Token = None,
    name: Names = [],  # noqa: B006  # typer reads it, nobody writes
    ledger: LedgerPath = None, site: SiteId = None,
) -> None:  # fmt: skip
    """Look at runs, studies and totals in a browser."""
    try:
        import uvicorn  # noqa: PLC0415  # optional

        from lowcarb.dashboard.app import make_app  # noqa: PLC0415
        from lowcarb.dashboard.guard import Access, is_loopback, make_token  # noqa: PLC0415
        from lowcarb.dashboard.live import LiveRuns  # noqa: PLC0415
        from lowcarb.dashboard.setup import Setup  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio", "h11"):
            raise
        raise MissingExtra("lowcarb serve", "serve") from error
    if token is None and not is_loopback(host):
        token = make_token()
    _free(host, port)
    names = (*name, *(() if is_loopback(host) else (socket.gethostname(),)))
    access = Access(host, port, token, names)
    catalogue = Catalogue.load()
    if site is not None:
        catalogue.site(site)  # refuses one that is not there
    book = opened(ledger)
    try:
        live = LiveRuns(home(), book, lambda: opened(ledger).close())
        app = make_app(Setup(book, catalogue, live, access, site))
        shown = f"[{host}]" if ":" in host else host
        say(f"http://{shown}:{port}/" + (f"?token={token}" if token else ""))
        # Addresses may hold a token: none is logged.
        uvicorn.run(app, host=host, port=port, access_log=False, log_level="warning", server_header=False)
    finally:
        book.close()


def _free(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before it is told to anybody.

    Raises:
        SettingError: the host is not this machine's, or the port is taken or not allowed.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError("host", host, f"an address of this machine, such as 127.0.0.1 ({reason})") from None
    with socket.socket(kind, socket.SOCK_STREAM) as tried:
        # As the server itself asks: a port that was let go a moment ago is free.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise SettingError("host", host, "an address of this machine, such as 127.0.0.1") from None
            raise SettingError("port", port, f"one that is free ({error.strerror}): another --port will do") from None
