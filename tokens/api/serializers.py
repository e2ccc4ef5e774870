"""What the API shows of tokens, and what it takes to issue, rotate and end them. A secret is in one answer only."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any, Literal

from django.db.models import DateTimeField
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from osmo_portal.events.actor import Actor
from osmo_portal.rest import Input, Text
from profiles import names
from profiles.api.serializers import person_named
from profiles.models import Kind, User
from profiles.policies import Statement
from profiles.policies.forms import MAX_TEXT
from profiles.rules import visible_users
from tokens.models import AccessToken, BulkOperation, PurgedSecret, Secret
from tokens.models.bulk_operation import MAX_TOKENS, Action
from tokens.models.token_set import DEFAULT_GRACE, MAX_GRACE, State

MAX_FILTERS = 20


class StateField(serializers.ChoiceField):
    """Calls the method. Django REST framework would first ask of each token's what parameters it takes."""

    def get_attribute(self, token: AccessToken) -> State:
        return token.state()


class Instant(serializers.DateTimeField):
    """In UTC, without asking for each value which time zone is current."""

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, **options)

    def to_representation(self, value: datetime) -> str:
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


def _showing(field: Any) -> Callable[[Any], Any]:
    direct = field.source != "*" and not isinstance(field, StateField)
    read = attrgetter(field.source) if direct else field.get_attribute

    def show(record: Any) -> Any:
        value = read(record)
        return None if value is None else field.to_representation(value)

    return show


class TokenSerializer(serializers.ModelSerializer[AccessToken]):
    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {DateTimeField: Instant}
    owner = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    kind = serializers.CharField(source="owner.kind", read_only=True)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True, allow_null=True)
    ended_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True, allow_null=True)
    state = StateField(choices=State.choices, read_only=True)
    roles = serializers.ListField(
        source="role_names", child=serializers.CharField(), read_only=True, help_text="What it carries now."
    )
    lost_roles = serializers.ListField(
        source="lost_role_names", child=serializers.CharField(), read_only=True, help_text="What its owner lost."
    )
    last_used_at = Instant(source="last_use.at", read_only=True, allow_null=True)
    secrets_end_with = serializers.SerializerMethodField(help_text="The last four characters of each live secret.")

    class Meta:
        model = AccessToken
        fields = [
            "id",
            "owner",
            "kind",
            "name",
            "description",
            "state",
            "roles",
            "lost_roles",
            "created_at",
            "created_by",
            "issued_at",
            "expires_at",
            "last_used_at",
            "rotations",
            "suspended_at",
            "ended_at",
            "ended_by",
            "end_reason",
            "secrets_end_with",
        ]
        read_only_fields = fields

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """As it is, twice as fast: no field of a token is left out, and none is looked for in a mapping."""
        return {name: show(instance) for name, show in self._shown()}

    @classmethod
    @cache
    def _shown(cls) -> list[tuple[str, Callable[[Any], Any]]]:
        """Of a serializer without a request: what is shown of a token depends on none."""
        return [(name, _showing(field)) for name, field in cls().fields.items() if not field.write_only]

    def get_secrets_end_with(self, token: Any) -> list[str]:
        return [secret.hint for secret in token.live_secrets]


class IssuedTokenSerializer(TokenSerializer):
    """The one answer that holds the secret: to the request that made it."""

    secret = serializers.CharField(source="plaintext", read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class NewToken(Input):
    owner = Text(max_length=names.MAX_LENGTH)
    name = Text(max_length=names.MAX_LENGTH)
    expires_at = Text(max_length=10, help_text="The day on which it ends, at 00:00 UTC: YYYY-MM-DD.")
    roles = serializers.ListField(child=Text(max_length=names.MAX_LENGTH), max_length=100, required=False)
    description = Text(max_length=names.MAX_TEXT, required=False, allow_blank=True)

    def validate_owner(self, username: str) -> User:
        """A user whom the caller may not know of is absent for the caller."""
        owner = visible_users(Actor.of(self.context["request"])).named(username).first()
        if owner is None:
            raise ValidationError(f"User {username} does not exist, or is not yours to see.")
        return owner


class Rotation(Input):
    grace_seconds = serializers.IntegerField(
        min_value=0,
        max_value=int(MAX_GRACE.total_seconds()),
        default=int(DEFAULT_GRACE.total_seconds()),
        help_text="How long the old secret goes on working.",
    )
    expires_at = Text(max_length=10, required=False, help_text="A new last day: YYYY-MM-DD.")
    end_old_at_first_use = serializers.BooleanField(default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {
            "grace": timedelta(seconds=attrs["grace_seconds"]),
            "expires": attrs.get("expires_at"),
            "end_old_at_first_use": attrs["end_old_at_first_use"],
        }


# Who somebody is, and what he may do.


class UsedToken(serializers.Serializer[AccessToken]):
    """The token behind a request."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)


class Identity(serializers.Serializer[Actor]):
    user = serializers.CharField(source="user.username", read_only=True)
    id = serializers.IntegerField(source="user.pk", read_only=True)
    kind = serializers.ChoiceField(source="user.kind", choices=Kind.choices, read_only=True)
    display_name = serializers.CharField(source="user.display_name", read_only=True)
    signed_in_by = serializers.SerializerMethodField(help_text="A token, a terminal or a browser.")
    token = UsedToken(read_only=True, allow_null=True)
    until = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When the secret ends that was exchanged."
    )
    roles = serializers.SerializerMethodField(help_text="In force for this request.")
    groups = serializers.SerializerMethodField(help_text="In force for this request: in a browser alone.")
    powers = serializers.SerializerMethodField(help_text="What the portal takes the caller for.")

    def get_signed_in_by(self, by: Actor) -> Literal["token", "terminal", "session"]:
        if by.token:
            return "token"
        return "terminal" if by.terminal else "session"

    def get_roles(self, by: Actor) -> list[str]:
        return sorted(by.roles)

    def get_groups(self, by: Actor) -> list[str]:
        return sorted(by.groups)

    def get_powers(self, by: Actor) -> list[Literal["administrator", "operator", "auditor"]]:
        powers: dict[Literal["administrator", "operator", "auditor"], bool] = {
            "administrator": by.is_administrator,
            "operator": by.is_operator,
            "auditor": by.is_auditor,
        }
        return [name for name, has in powers.items() if has]


class AccessQuestion(Input):
    """An action and, where it is about one, a resource; or a request. About a user, a token, or the caller."""

    user = Text(max_length=names.MAX_LENGTH, required=False, help_text="A user id. With neither, the caller.")
    token = serializers.IntegerField(min_value=1, max_value=2**63 - 1, required=False, help_text="A token's number.")
    action = Text(max_length=100, required=False, help_text="For example workflow:Create.")
    resource = Text(max_length=MAX_TEXT, required=False, help_text="For example pool/my_pool. Without: about none.")
    method = Text(max_length=20, required=False, help_text="Of a request, in place of an action: for example POST.")
    path = Text(max_length=2_000, required=False, help_text="Of that request, as it is sent.")

    def validate_action(self, action: str) -> str:
        if not re.fullmatch(r"[a-z]+:[A-Z][a-zA-Z]*", action):
            raise ValidationError("Write a kind and an action, for example workflow:Create. Stars ask nothing.")
        return action

    def validate_resource(self, resource: str) -> str:
        if not re.fullmatch(r"[a-z]+/[^*\s]+", resource) or not resource.isprintable():
            raise ValidationError("Write a kind and a name, for example pool/my_pool. Stars ask nothing.")
        return resource

    def validate_method(self, method: str) -> str:
        if not re.fullmatch("[A-Za-z]+", method):
            raise ValidationError("Write a method, for example POST.")
        return method.upper()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "user" in attrs and "token" in attrs:
            raise ValidationError({"token": "Ask about a user or about a token."})
        semantic, request = {"action", "resource"} & set(attrs), {"method", "path"} & set(attrs)
        if "action" in attrs and not request:
            return attrs
        if request == {"method", "path"} and not semantic:
            return attrs
        raise ValidationError(
            {"action": "Ask about an action, with a resource if it is about one; or method and path."}
        )


class StatementSerializer(serializers.Serializer[Statement]):
    """One line of a role's policies that is about what was asked."""

    role = serializers.CharField(read_only=True)
    effect = serializers.SerializerMethodField()
    says = serializers.CharField(source="__str__", read_only=True)

    def get_effect(self, said: Statement) -> Literal["Allow", "Deny"]:
        return "Deny" if said.denies else "Allow"


class AccessAnswer(serializers.Serializer[Any]):
    allowed = serializers.BooleanField(source="decision.allowed", read_only=True)
    reason = serializers.CharField(source="decision.reason", read_only=True)
    role = serializers.CharField(
        source="decision.role", read_only=True, help_text="That decided; empty: none has a say."
    )
    user = serializers.CharField(source="subject.user.username", read_only=True)
    token = serializers.IntegerField(source="subject.token.pk", read_only=True, allow_null=True, default=None)
    roles = serializers.ListField(
        source="subject.roles", child=serializers.CharField(), read_only=True, help_text="From which allows count."
    )
    statements = StatementSerializer(
        source="said", many=True, read_only=True, help_text="All that have a say, denies first: the first one decides."
    )


# Whose secret something is.


class Pasted(Input):
    secret = Text(max_length=2_000, help_text="A secret, or its SHA-256; what stands around it does not matter.")


class KnownSecret(serializers.ModelSerializer[Secret]):
    """Never the secret itself, nor its digest."""

    class Meta:
        model = Secret
        fields = ["hint", "created_at", "first_used_at", "retires_at"]
        read_only_fields = fields


class KnownPurged(serializers.ModelSerializer[PurgedSecret]):
    """What is left of a secret whose token was purged."""

    class Meta:
        model = PurgedSecret
        fields = ["token_id", "label", "ended_at", "purged_at"]
        read_only_fields = fields


class Found(serializers.Serializer[Any]):
    """All null: nobody has this secret."""

    token = TokenSerializer(read_only=True, allow_null=True)
    which = KnownSecret(read_only=True, allow_null=True, help_text="Which of the token's secrets it is.")
    purged = KnownPurged(read_only=True, allow_null=True)


# Sets of tokens.


class NewOperation(Input):
    action = serializers.ChoiceField(choices=Action.choices)
    filters = serializers.DictField(
        child=Text(max_length=254),
        help_text="As of the list of tokens, by name. Empty: all tokens that are not revoked.",
    )
    at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="For expire: when they end, later than now."
    )
    accountable = Text(max_length=names.MAX_LENGTH, required=False, help_text="For hand-over: the person's user id.")

    def validate_filters(self, filters: dict[str, str]) -> dict[str, str]:
        if len(filters) > MAX_FILTERS:
            raise ValidationError(f"Give at most {MAX_FILTERS} filters.")
        return filters

    def validate_accountable(self, username: str) -> User:
        return person_named(username)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("at") and attrs["action"] != Action.EXPIRE:
            raise ValidationError({"at": "Only ending has an instant."})
        if attrs.get("at") and attrs["at"] <= timezone.now():
            raise ValidationError({"at": "This instant is over. Leave it out to end them at once."})
        if ("accountable" in attrs) != (attrs["action"] == Action.HAND_OVER):
            raise ValidationError({"accountable": "It goes with handing over, and only with that."})
        return attrs


class Execution(Input):
    digest = Text(max_length=64, help_text="Of the set, as the preview gave it.")
    reason = Text(max_length=names.MAX_TEXT)
    expect = serializers.IntegerField(
        min_value=0, max_value=MAX_TOKENS, required=False, help_text="How many would change. Required for large sets."
    )


class CountedName(serializers.Serializer[Any]):
    name = serializers.CharField()
    tokens = serializers.IntegerField()


class SampleToken(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    token = serializers.CharField(help_text="Its owner and its name.")
    state = serializers.ChoiceField(choices=State.choices)
    expires_at = serializers.DateTimeField()


class OperationSerializer(serializers.ModelSerializer[BulkOperation]):
    """`count` tokens are in the set, `affected` of them would change as it was looked at, `changed` have."""

    accountable = serializers.SlugRelatedField[User](slug_field="username", read_only=True, allow_null=True)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True, allow_null=True)
    filters = serializers.DictField(child=serializers.CharField(), read_only=True)
    owners = serializers.SerializerMethodField(help_text="Those with the most tokens.")
    owner_count = serializers.IntegerField(source="seen.owner_count", read_only=True)
    roles = serializers.SerializerMethodField()
    sample = serializers.SerializerMethodField(help_text="The newest of them.")
    remaining = serializers.IntegerField(read_only=True)
    left_alone = serializers.IntegerField(read_only=True)

    class Meta:
        model = BulkOperation
        fields = [
            "id",
            "action",
            "stage",
            "filters",
            "at",
            "accountable",
            "reason",
            "count",
            "affected",
            "beyond",
            "digest",
            "owners",
            "owner_count",
            "roles",
            "sample",
            "handled",
            "changed",
            "left_alone",
            "remaining",
            "created_by",
            "previewed_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields

    @extend_schema_field(CountedName(many=True))
    def get_owners(self, operation: BulkOperation) -> list[dict[str, Any]]:
        return [{"name": name, "tokens": tokens} for name, tokens in operation.seen.get("owners", ())]

    @extend_schema_field(CountedName(many=True))
    def get_roles(self, operation: BulkOperation) -> list[dict[str, Any]]:
        return [{"name": name, "tokens": tokens} for name, tokens in operation.seen.get("roles", ())]

    @extend_schema_field(SampleToken(many=True))
    def get_sample(self, operation: BulkOperation) -> list[dict[str, Any]]:
        seen = operation.seen.get("sample", ())
        return [
            {"id": one["pk"], "token": one["label"], **{n: one[n] for n in ("state", "expires_at")}} for one in seen
        ]
