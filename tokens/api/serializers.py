"""What the API shows of tokens, and what it takes to issue, rotate and end them. A secret is in one answer only."""

from datetime import timedelta
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from osmo_portal.events.actor import Actor
from osmo_portal.rest import Input, Text
from profiles import names
from profiles.models import User
from profiles.rules import visible_users
from tokens.models import AccessToken
from tokens.models.access_token import DEFAULT_GRACE, MAX_GRACE, State


class TokenSerializer(serializers.ModelSerializer[AccessToken]):
    owner = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    kind = serializers.CharField(source="owner.kind", read_only=True)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    ended_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    state = serializers.ChoiceField(choices=State.choices, read_only=True)
    roles = serializers.ListField(
        source="role_names", child=serializers.CharField(), read_only=True, help_text="What it carries now."
    )
    lost_roles = serializers.ListField(
        source="lost_role_names", child=serializers.CharField(), read_only=True, help_text="What its owner lost."
    )
    last_used_at = serializers.DateTimeField(source="last_use.at", read_only=True, allow_null=True)
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
