"""The small fixed cast of the tests, made through the ways in."""

from datetime import date, timedelta
from typing import Any

from django.utils import timezone

from osmo_portal.events.actor import AUDITORS, OPERATORS, Actor, Door
from profiles.models import Pool, Role, User
from tests.snapshot import scene
from tokens.models import AccessToken

PASSWORD = "correct horse battery"
PLAIN_ROLE = "team-reader"
POOL_ROLE = "osmo-my_pool"


def in_days(days: int) -> date:
    return timezone.now().date() + timedelta(days=days)


class Cast:
    """ada a person, grace the administrator, olive an operator, audrey an auditor, robot a service account that ada is
    accountable for, mallory a stranger. The pool my_pool; the pool role osmo-my_pool; the plain role team-reader."""

    def __init__(self) -> None:
        scene("cast", self._assemble)
        people = {user.username: user for user in User.objects.all()}
        self.grace, self.ada, self.olive = people["grace"], people["ada"], people["olive"]
        self.audrey, self.mallory, self.robot = people["audrey"], people["mallory"], people["robot"]
        self.pool = Pool.objects.get(name="my_pool")

    def _assemble(self) -> None:
        first = Actor.bootstrap()
        Pool.create(by=first, name="my_pool", online=True, total_capacity=8)
        Role.create(
            by=first,
            name=POOL_ROLE,
            policies=[{"effect": "Allow", "actions": ["workflow:*"], "resources": ["pool/my_pool*"]}],
        )
        Role.create(
            by=first,
            name=PLAIN_ROLE,
            policies=[{"effect": "Allow", "actions": ["dataset:Read", "pool:List"], "resources": ["*"]}],
        )
        self._person("grace", roles=["osmo-admin"])
        ada = self._person("ada", display_name="Ada L.")
        self._person("olive").put_into_groups([OPERATORS], by=first)
        self._person("audrey").put_into_groups([AUDITORS], by=first)
        self._person("mallory")
        User.create_service_account(
            by=self.by("grace"), username="robot", accountable=ada, purpose="CI", roles=[POOL_ROLE, PLAIN_ROLE]
        )

    def by(self, name: str, door: Door = Door.ADMIN) -> Actor:
        """The actor of a fresh browser session of `name`."""
        return Actor.acting_as(User.objects.get(username=name), door)

    @property
    def _issuer(self) -> Actor:
        """grace in a fresh session, as she is in the cast: nothing is asked for that."""
        return Actor(door=Door.ADMIN, user=self.grace, roles=frozenset({"osmo-admin"}))

    def with_token(self, token: AccessToken, door: Door = Door.CLI) -> Actor:
        """The actor of a request that is signed in by `token`: only the token's roles are in force."""
        fresh = AccessToken.objects.get(pk=token.pk)
        return Actor(door=door, user=fresh.owner, roles=frozenset(fresh.role_names), token=fresh)

    def user_token(self, owner: str = "ada", name: str = "my-token", days: int = 31, **fields: Any) -> AccessToken:
        user = User.objects.get(username=owner)
        return AccessToken.issue(by=self._issuer, owner=user, name=name, expires=in_days(days), **fields)

    def service_token(
        self, name: str = "ci", roles: list[str] | None = None, days: int = 31, owner: str = "robot"
    ) -> AccessToken:
        user = User.objects.get(username=owner)
        names = [POOL_ROLE] if roles is None else roles
        return AccessToken.issue(by=self._issuer, owner=user, name=name, expires=in_days(days), roles=names)

    def administrator_token(self, name: str = "root-bot") -> AccessToken:
        """A service token in which osmo-admin is in force."""
        bot = User.create_service_account(
            by=self.by("grace"), username=name, purpose="automation", roles=["osmo-admin"]
        )
        return AccessToken.issue(by=self.by("grace"), owner=bot, name=name, expires=in_days(31), roles=["osmo-admin"])

    def _person(self, username: str, roles: list[str] | None = None, display_name: str = "") -> User:
        return User.create_person(
            by=Actor.bootstrap(),
            username=username,
            display_name=display_name,
            email=f"{username}@example.com",
            password=PASSWORD,
            roles=roles or [],
        )
