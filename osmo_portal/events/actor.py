"""Who does something, with what power, through which door: what every way in asks for as `by`."""

import getpass
import socket
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import TextChoices
from django.http import HttpRequest

ADMINISTRATOR_ROLE = "osmo-admin"
OPERATORS = "operators"
AUDITORS = "auditors"


class Door(TextChoices):
    ADMIN = "admin"
    REST = "rest"
    CLI = "cli"
    COMMAND = "command"
    MY_TOKENS = "my-tokens"

    @classmethod
    def of_api(cls, path: str) -> "Door":
        """REST under /api/v1/, the released clients' wire elsewhere."""
        return cls.REST if path.startswith("/api/v1/") else cls.CLI


@dataclass(frozen=True, slots=True)
class Actor:
    """`roles` and `groups` are those in force for this request: a token's, or all of a signed-in person's.

    `user` is None for the shell itself, which may shorten lives and grants nothing, and for nobody.
    `terminal` is the sign-in of a person by `osmo login`, where no token was used.
    `until` is when the secret behind `token` ends, which may be before the token's own date.
    """

    door: Door
    user: Any = None
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    token: Any = None
    terminal: Any = None
    until: datetime | None = None
    address: str | None = None
    request_id: str = ""
    _name: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        return self.user.username if self.user else self._name

    @property
    def is_administrator(self) -> bool:
        return ADMINISTRATOR_ROLE in self.roles

    @property
    def is_operator(self) -> bool:
        """Who is an auditor as well changes nothing either."""
        return OPERATORS in self.groups and not self.is_auditor

    @property
    def changes_nothing(self) -> bool:
        """Whether the caller is an auditor, also by token: groups then give nothing, but still bind."""
        return self.user is not None and not self.is_administrator and AUDITORS in self.user.group_names

    @property
    def is_auditor(self) -> bool:
        return AUDITORS in self.groups

    @property
    def is_shell(self) -> bool:
        return self.user is None and self.door == Door.COMMAND

    @classmethod
    def signed_in(cls, request: HttpRequest, door: Door, user: Any = None) -> "Actor":
        """The person of a browser session (while it begins: `user`), with all that the person holds."""
        return cls.acting_as(user or request.user, door, **facts(request))

    @classmethod
    def of(cls, request: Any) -> "Actor":
        """The caller of an API request, as the authentication classes found it."""
        actor: Actor = request.auth
        return actor

    @classmethod
    def nobody(cls, request: HttpRequest, door: Door) -> "Actor":
        """Whoever sent the request, and did not prove to be anybody. It may do nothing at all."""
        return cls(door=door, _name="(not signed in)", **facts(request))

    @classmethod
    def acting_as(cls, user: Any, door: Door, *, address: str | None = None, request_id: str = "") -> "Actor":
        return cls(
            door=door,
            user=user,
            roles=user.held_role_names,
            groups=user.group_names,
            address=address,
            request_id=request_id,
        )

    @classmethod
    def shell(cls) -> "Actor":
        """Whoever may run commands on this machine. It may shorten lives (expire, revoke, suspend), nothing else."""
        return cls(door=Door.COMMAND, _name=_shell_name())

    @classmethod
    def provider(cls, request: HttpRequest, issuer: str) -> "Actor":
        """The identity provider, which the operator trusts with making people and with the roles that are mapped."""
        return cls(
            door=Door.ADMIN,
            roles=frozenset({ADMINISTRATOR_ROLE}),
            _name=f"provider:{issuer}"[:254],
            **facts(request),
        )

    @classmethod
    def bootstrap(cls) -> "Actor":
        """The shell as an administrator: for making the first one, and for recovering one. Nothing else uses it."""
        return cls(door=Door.COMMAND, roles=frozenset({ADMINISTRATOR_ROLE}), _name=_shell_name())


def facts(request: HttpRequest) -> dict[str, Any]:
    """What RequestFacts noted: `address`, `request_id`. A request that came past the middleware has neither."""
    return {"address": getattr(request, "address", None), "request_id": getattr(request, "id", "")}


def _shell_name() -> str:
    return f"system:{getpass.getuser()}@{socket.gethostname()}"[:254]
