"""Who the caller is, and what somebody may do and why. Nothing here changes anything."""

from dataclasses import dataclass
from typing import Any, TypeVar

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.events.actor import Actor
from osmo_portal.rest import RestView
from profiles.models import User
from profiles.policies import Decision
from profiles.powers import Powers
from tokens import standing
from tokens.api.permissions import AuditorsChangeNothing
from tokens.api.serializers import AccessAnswer, AccessQuestion, Identity
from tokens.models import AccessToken

INACTIVE = "The user is not active."
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a question is about; `refusal` says why nothing is allowed at all, whatever the roles say."""

    user: User
    roles: list[str]
    token: AccessToken | None = None
    refusal: str = ""

    @classmethod
    def caller(cls, by: Actor) -> "Subject":
        return cls(by.user, sorted(by.roles), by.token)

    @classmethod
    def of_user(cls, user: User) -> "Subject":
        return cls(user, sorted(user.held_role_names), refusal="" if user.is_active else INACTIVE)

    @classmethod
    def of_token(cls, token: AccessToken) -> "Subject":
        refusal = standing.of_token(token)
        return cls(token.owner, token.role_names, token, str(refusal.label) if refusal else "")


class WhoAmI(RestView):
    permission_classes = [IsAuthenticated]

    @extend_schema(operation_id="whoami", responses=Identity)
    def get(self, request: Request) -> Response:
        """The caller: which user, signed in how, and which roles and powers are in force for this request."""
        return Response(Identity(Actor.of(request)).data)


class AccessCheck(RestView):
    permission_classes = [IsAuthenticated, AuditorsChangeNothing]

    @extend_schema(operation_id="access_check", parameters=[AccessQuestion], responses=AccessAnswer)
    def get(self, request: Request) -> Response:
        """May the caller, a user or a token do this, and why? Nothing is changed. Auditors ask this way."""
        return self._answer(request, self.asked(AccessQuestion, request.query_params.dict()))

    @extend_schema(operation_id="access_check_by_body", request=AccessQuestion, responses=AccessAnswer)
    def post(self, request: Request) -> Response:
        """The same question as a body. Nothing is changed."""
        return self._answer(request, self.asked(AccessQuestion))

    def _answer(self, request: Request, asked: dict[str, Any]) -> Response:
        subject = _subject(Actor.of(request), asked.get("user"), asked.get("token"))
        powers = Powers.of(subject.user, subject.roles)
        if "action" in asked:
            question: tuple[Any, Any] = asked["action"], asked.get("resource")
            decision, said = powers.may(*question), powers.said(*question)
        else:
            question = asked["method"], asked["path"]
            decision, said = powers.may_request(*question), powers.said_of_request(*question)
        if subject.refusal:
            decision, said = Decision(False, subject.refusal), iter(())
        return Response(AccessAnswer({"subject": subject, "decision": decision, "said": list(said)}).data)


def _subject(by: Actor, username: str | None, token: int | None) -> Subject:
    """Administrators and auditors ask about everybody, others about themselves. What is not theirs is not there."""
    asks_about_all = by.is_administrator or by.is_auditor
    if token is not None:
        known = AccessToken.objects.with_state().filter(pk=token)
        found = (known if asks_about_all else known.owned_by(by.user)).first()
        return Subject.of_token(_there(found))
    if username is None or (username == by.user.username and not asks_about_all):
        return Subject.caller(by)
    found_user = User.objects.named(username).first() if asks_about_all else None
    return Subject.of_user(_there(found_user))


def _there(found: Found | None) -> Found:
    if found is None:
        raise Http404
    return found
