"""The life of a key, by the client that a generator made from the OpenAPI document.

    URL=http://127.0.0.1:3000 KEY=... python lifecycle.py

`keys_client` is generated as the page "Clients in other languages" of the guide says. `.ci/run sdk` runs mypy --strict over
this program and the generated client, and then this program. It prints one line for each step.
"""

import datetime
import hashlib
import json
import os
import secrets
import time
from typing import TypeVar

import httpx

from keys_client import AuthenticatedClient
from keys_client.api.events import list_events, list_events_of_key
from keys_client.api.keys import (
    create_key,
    edit_key,
    find_key,
    list_keys,
    regenerate_key,
    revoke_key,
    rotate_key,
    show_key,
    show_usage,
)
from keys_client.api.many_keys import change_keys, import_keys, replace_keys
from keys_client.api.own_key import revoke_own_key, show_own_key
from keys_client.models import (
    AuthorKind,
    Change,
    ChangeKeys,
    CreateKey,
    CreateKeyMetadata,
    CreateKeyPermissions,
    EditKey,
    EventKind,
    FindKey,
    ImportedKey,
    ImportKeys,
    IssuedKey,
    Key,
    KeyFilter,
    KeyState,
    KeyType,
    LimitSubject,
    ListKeysSort,
    Problem,
    RegenerateKey,
    ReplaceKeys,
    RotateKey,
    Switch,
    Usage,
)
from keys_client.types import UNSET, Response, Unset

URL, KEY = os.environ["URL"], os.environ["KEY"]
DAY = datetime.timedelta(days=1)
Body = TypeVar("Body")


def client_of(key: str) -> AuthenticatedClient:
    return AuthenticatedClient(base_url=URL, token=key, raise_on_unexpected_status=True)


def body(response: Response[Body | Problem], status: int) -> Body:
    """The body of a response with this status. It is no problem."""
    assert response.status_code == status, response.content
    assert response.parsed is not None and not isinstance(response.parsed, Problem), response.content
    return response.parsed


def problem(response: Response[Body | Problem], status: int) -> Problem:
    """The problem of a response with this status."""
    assert response.status_code == status, response.content
    assert isinstance(response.parsed, Problem), response.content
    assert (response.headers["content-type"], response.parsed.status) == ("application/problem+json", status)
    return response.parsed


def stats(key: str) -> httpx.Response:
    """A request with the key to the service itself."""
    return httpx.get(f"{URL}/api/stats", headers={"Authorization": f"Bearer {key}"})


def new(name: str, **permissions: list[str]) -> CreateKey:
    granted = CreateKeyPermissions.from_dict(permissions)
    return CreateKey(type_=KeyType.BOT, name=name, permissions=granted)


def issue_and_use(admin: AuthenticatedClient, mark: str) -> IssuedKey:
    wanted = new(f"{mark} reports", stats=["read"], apiKeys=["read"])
    wanted.metadata = CreateKeyMetadata.from_dict({"ticket": "OPS-17"})
    wanted.expires_at = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + 30 * DAY
    once = secrets.token_hex(8)
    issued = body(create_key.sync_detailed(client=admin, body=wanted, idempotency_key=once), 201)
    assert (issued.type_, issued.owner, issued.status) == (KeyType.BOT, "Bot", KeyState.ACTIVE)
    assert issued.permissions.to_dict() == {"stats": ["read"], "apiKeys": ["read"]}
    assert (issued.expires_at, issued.metadata["ticket"], issued.environment) == (wanted.expires_at, "OPS-17", None)
    again = problem(create_key.sync_detailed(client=admin, body=wanted, idempotency_key=once), 409)
    assert again.key_id == issued.id
    used = stats(issued.key)
    assert (used.status_code, used.json()["key"]) == (200, issued.id)
    return issued


def list_and_show(admin: AuthenticatedClient, mark: str, issued: IssuedKey) -> None:
    for name in ("second", "third"):
        body(create_key.sync_detailed(client=admin, body=new(f"{mark} {name}")), 201)
    first = body(list_keys.sync_detailed(client=admin, name_prefix=mark, limit=2), 200)
    assert [key.name for key in first.keys] == [f"{mark} third", f"{mark} second"]
    assert first.next_ is not None
    last = body(list_keys.sync_detailed(client=admin, name_prefix=mark, limit=2, cursor=first.next_), 200)
    assert ([key.id for key in last.keys], last.next_) == ([issued.id], None)
    shown = body(show_key.sync_detailed(issued.id, client=admin), 200)
    assert isinstance(shown, Key) and shown.mask is not None and issued.key.endswith(shown.mask[-4:])
    assert shown.created_by is not None and shown.created_by.type_ == AuthorKind.KEY
    own = body(show_own_key.sync_detailed(client=client_of(issued.key)), 200)
    assert (own.id, own.organization) == (issued.id, "acme")


def edit(admin: AuthenticatedClient, issued: IssuedKey) -> None:
    change = EditKey(status=Switch.DISABLED, reason="maintenance")
    disabled = body(edit_key.sync_detailed(issued.id, client=admin, body=change, if_match=f'"{issued.version}"'), 200)
    assert (disabled.status, disabled.version) == (KeyState.DISABLED, issued.version + 1)
    assert stats(issued.key).status_code == 401
    late = problem(edit_key.sync_detailed(issued.id, client=admin, body=change, if_match=f'"{issued.version}"'), 412)
    assert late.title == "Precondition Failed"
    enable = EditKey(status=Switch.ACTIVE, expires_at=None, metadata=None)
    enabled = body(edit_key.sync_detailed(issued.id, client=admin, body=enable), 200)
    assert (enabled.status, enabled.expires_at, enabled.metadata.to_dict()) == (KeyState.ACTIVE, None, {})


def rotate(admin: AuthenticatedClient, issued: IssuedKey) -> IssuedKey:
    next_key = body(rotate_key.sync_detailed(issued.id, client=admin, body=RotateKey(grace_seconds=3600)), 201)
    assert (next_key.replaces, next_key.lineage) == (issued.id, issued.id)
    assert [stats(key).status_code for key in (issued.key, next_key.key)] == [200, 200]
    newest = body(regenerate_key.sync_detailed(next_key.id, client=admin, body=RegenerateKey()), 201)
    assert [stats(key).status_code for key in (next_key.key, newest.key)] == [401, 200]
    return newest


def usage_of(admin: AuthenticatedClient, issued: IssuedKey) -> Usage:
    today = datetime.datetime.now(datetime.UTC).date()
    return body(show_usage.sync_detailed(issued.id, client=admin, to=today), 200)


def events_and_usage(admin: AuthenticatedClient, issued: IssuedKey) -> None:
    events = body(list_events_of_key.sync_detailed(issued.id, client=admin), 200).events
    kinds = [EventKind.REVOKED, EventKind.ROTATED, EventKind.ENABLED, EventKind.DISABLED, EventKind.ISSUED]
    assert [event.kind for event in events] == kinds
    assert (events[0].author.type_, events[0].leak, events[3].reason) == (AuthorKind.KEY, None, "maintenance")
    assert (events[3].before["status"], events[3].after["status"]) == ("active", "disabled")
    page = body(list_events.sync_detailed(client=admin, kind=EventKind.ROTATED, limit=1), 200)
    assert [event.key_id for event in page.events] == [issued.id]
    usage = usage_of(admin, issued)
    for _ in range(100):
        if usage.total.accepted + usage.total.rejected == 4:
            break
        time.sleep(0.1)  # The service writes usage once a second.
        usage = usage_of(admin, issued)
    assert (len(usage.days), usage.total.accepted, usage.total.rejected) == (30, 3, 1), usage
    assert not isinstance(usage.limits, Unset)
    assert [(limit.name, limit.subject) for limit in usage.limits][1] == ("daily", LimitSubject.KEY)


def problems(admin: AuthenticatedClient, issued: IssuedKey) -> None:
    stranger = client_of("acme_unknown")
    unknown = problem(list_keys.sync_detailed(client=stranger), 401)
    assert (unknown.title, unknown.code) == ("Invalid API key", "invalid_key")
    reader = client_of(issued.key)
    assert problem(create_key.sync_detailed(client=reader, body=new("x")), 403).title == "Forbidden"
    beyond = problem(create_key.sync_detailed(client=admin, body=new("x", billing=["read"])), 403)
    assert "billing" in beyond.detail
    invalid = problem(create_key.sync_detailed(client=admin, body=new(" x")), 422)
    assert (invalid.type_, invalid.code) == ("about:blank", UNSET) and "name" in invalid.detail
    no_cursor = list_keys.sync_detailed(client=admin, sort=ListKeysSort.NAME, cursor="no cursor")
    assert "cursor" in problem(no_cursor, 400).detail
    assert problem(show_key.sync_detailed("key_none", client=admin), 404).title == "Not Found"
    assert problem(find_key.sync_detailed(client=admin, body=FindKey(key=issued.key)), 403).status == 403


def many(admin: AuthenticatedClient, mark: str) -> None:
    text = f"old-{secrets.token_hex(16)}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    kept = ImportedKey(type_=KeyType.BOT, name=f"{mark} imported", digest=digest)
    wrong = ImportedKey(type_=KeyType.BOT, name=f"{mark} wrong", digest=digest, key=text)
    done = body(import_keys.sync_detailed(client=admin, body=ImportKeys(keys=[kept, wrong])), 200)
    assert (done.imported, [result.status for result in done.results]) == (1, [201, 422]), done
    assert isinstance(done.results[1].detail, str) and done.results[1].id is UNSET
    filter_ = KeyFilter(name_prefix=mark)
    lines = body(replace_keys.sync_detailed(client=admin, body=ReplaceKeys(filter_=filter_, grace_seconds=60)), 200)
    replaced = [IssuedKey.from_dict(line) for line in map(json.loads, lines.splitlines()) if "key" in line]
    assert replaced and stats(replaced[0].key).status_code in (200, 403)
    count = ChangeKeys(change=Change.REVOKE, filter_=filter_, dry_run=True)
    matched = body(change_keys.sync_detailed(client=admin, body=count), 200)
    assert matched.matched >= len(replaced) and matched.changed == 0


def revoke(admin: AuthenticatedClient, newest: IssuedKey) -> None:
    gone = body(revoke_key.sync_detailed(newest.id, client=admin, reason="end of the test"), 200)
    assert (gone.status, gone.reason) == (KeyState.REVOKED, "end of the test")
    assert gone.revoked_by is not None and gone.revoked_at is not None
    assert stats(newest.key).status_code == 401
    other = body(create_key.sync_detailed(client=admin, body=new("logs out")), 201)
    assert revoke_own_key.sync_detailed(client=client_of(other.key)).status_code == 204


def main() -> None:
    admin, mark = client_of(KEY), secrets.token_hex(4)
    issued = issue_and_use(admin, mark)
    print("a key is issued once, and used")
    list_and_show(admin, mark, issued)
    print("keys are listed with a filter and a cursor, and shown")
    edit(admin, issued)
    print("a key is edited, at one version only")
    newest = rotate(admin, issued)
    print("a key is rotated with a grace period, and regenerated")
    events_and_usage(admin, issued)
    print("its events and its usage are read")
    problems(admin, newest)
    print("400, 401, 403, 404 and 422 are problems")
    many(admin, mark)
    print("keys are imported, replaced and counted")
    revoke(admin, newest)
    print("a key is revoked, by the administrator and by its holder")


if __name__ == "__main__":
    main()
