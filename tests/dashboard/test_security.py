"""Who may ask, and what no page of another site can do."""

from __future__ import annotations

import pytest

from lowcarb.dashboard.guard import Access
from lowcarb.errors import SettingError
from lowcarb.ledger.record import run_id_of

RUN = run_id_of("key 0")
TOKEN = "a token of some length"
READS = ("/", f"/runs/{RUN}", "/totals", "/live.json", "/api/v1/runs", "/static/dashboard.js", "/nowhere")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_an_address_that_others_reach_takes_a_token(host):
    with pytest.raises(SettingError):
        Access(host, 8765)


@pytest.mark.parametrize("token", ["", "short", "with\nnewline in the middle", "x" * 15])
def test_a_token_that_can_be_guessed_is_refused_and_not_repeated(token):
    with pytest.raises(SettingError) as error:
        Access("127.0.0.1", 8765, token)

    assert not token or token not in str(error.value)


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8765", "a b"])
def test_a_host_that_is_not_this_machine_is_refused(client, path, host):
    assert client.get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9999", "[::1]:8765", "LOCALHOST:1"])
def test_this_machine_may_be_called_by_its_own_names(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:1"}, {"origin": "http://["},
     {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
     {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "cross-site"}],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("path", [f"/runs/{RUN}/tags", f"/api/v1/runs/{RUN}/tags", *READS])
def test_no_write_comes_from_another_site(client, ledger, method, path, headers):
    done = client.request(method, path, headers={**headers, "content-type": "application/json"}, content='{"a": "b"}')

    assert done.status_code == 403
    assert ledger.tag(RUN, {}) == {}


def test_a_page_of_the_dashboard_may_write(client, ledger):
    done = client.patch(f"/api/v1/runs/{RUN}/tags", json={"a": "b"}, headers={"origin": "http://127.0.0.1:8765"})

    assert done.json() == {"tags": {"a": "b"}}


@pytest.mark.parametrize("path", READS)
def test_every_answer_has_its_headers(client, path):
    headers = client.get(path).headers

    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", READS)
def test_nothing_is_told_without_the_token(make_client, path):
    client = make_client("0.0.0.0", TOKEN, "http://192.168.1.5:8765")

    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": f"lowcarb-8765={TOKEN}"}):
        answer = client.get(path, headers=headers)

        assert answer.status_code == 401
        assert "first run" not in answer.text
        assert TOKEN not in answer.text
    assert client.get(f"{path}?token=wrong").status_code == 401


def test_a_token_in_the_address_is_used_once_and_then_a_cookie(make_client):
    client = make_client("0.0.0.0", TOKEN, "http://192.168.1.5:8765")

    first = client.get("/totals", params={"token": TOKEN, "by": "site"})

    assert first.status_code == 303
    assert first.headers["location"] == "/totals?by=site"
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert client.get("/totals?by=site").status_code == 200


def test_a_redirect_never_leads_to_another_host(make_client):
    client = make_client("0.0.0.0", TOKEN, "http://192.168.1.5:8765")

    moved = client.get("http://192.168.1.5:8765//evil.example/x", params={"token": TOKEN})

    assert not moved.headers.get("location", "/").startswith("//")


def test_a_program_shows_its_token(make_client):
    client = make_client("0.0.0.0", TOKEN, "http://192.168.1.5:8765")

    assert client.get("/api/v1/runs", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    "path", [f"/static/{one}" for one in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd")]
)
def test_no_path_leads_out_of_what_is_served(client, path):
    assert client.get(path).status_code == 404


def test_too_much_is_refused(client):
    done = client.patch(f"/api/v1/runs/{RUN}/tags", content=b"x" * 10**6, headers={"content-type": "application/json"})

    assert done.status_code == 413
