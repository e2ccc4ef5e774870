"""What the API shows of users, roles and pools, and what it takes to make or change them."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from osmo_portal.events.actor import AUDITORS, OPERATORS, Actor
from osmo_portal.rest import Change, Input, Text
from profiles import names
from profiles.models import Kind, Pool, Role, RoleAssignment, User
from profiles.rules import reads_everything

LARGEST = 2_147_483_647


class UserSerializer(serializers.ModelSerializer[User]):
    accountable = serializers.SlugRelatedField[User](slug_field="username", read_only=True, allow_null=True)
    email = serializers.CharField(read_only=True, help_text="Empty where none is known.")
    roles = serializers.SerializerMethodField()
    groups = serializers.SerializerMethodField(help_text="Operators, auditors: what the person is in the console.")

    class Meta:
        model = User
        fields = [
            "id",
            "username",
            "kind",
            "display_name",
            "email",
            "purpose",
            "accountable",
            "is_active",
            "roles",
            "groups",
            "created_at",
            "deleted_at",
        ]
        read_only_fields = fields

    def get_roles(self, user: Any) -> list[str]:
        return sorted(assignment.role.name for assignment in user.effective_assignments)

    def get_groups(self, user: Any) -> list[str]:
        return sorted(group.name for group in user.groups.all())


class RoleSerializer(serializers.ModelSerializer[Role]):
    """Everybody signed in sees which roles there are; what they allow in detail is for the console's people."""

    class Meta:
        model = Role
        fields = [
            "id",
            "name",
            "description",
            "policies",
            "grants_pools",
            "is_plain",
            "immutable",
            "max_token_days",
            "created_at",
            "deleted_at",
        ]
        read_only_fields = fields

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        request = self.context.get("request")
        if request and request.auth and not reads_everything(Actor.of(request)):
            del fields["policies"]
        return fields


class PoolSerializer(serializers.ModelSerializer[Pool]):
    status = serializers.CharField(read_only=True)

    class Meta:
        model = Pool
        fields = [
            "id",
            "name",
            "description",
            "status",
            "backend",
            "maintenance",
            "online",
            "quota_used",
            "quota_limit",
            "total_usage",
            "total_capacity",
            "created_at",
            "deleted_at",
        ]
        read_only_fields = fields


class AssignmentSerializer(serializers.ModelSerializer[RoleAssignment]):
    """That a user holds a role, or held it once. `is_effective`: whether it counts now."""

    user = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    role = serializers.SlugRelatedField[Role](slug_field="name", read_only=True)
    assigned_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True, allow_null=True)
    removed_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True, allow_null=True)
    is_effective = serializers.SerializerMethodField()

    class Meta:
        model = RoleAssignment
        fields = ["id", "user", "role", "is_effective", "assigned_at", "assigned_by", "removed_at", "removed_by"]
        read_only_fields = fields

    def get_is_effective(self, assignment: RoleAssignment) -> bool:
        return assignment.removed_at is None and assignment.role.deleted_at is None


class HandedOver(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="Service accounts that have another accountable person now.")


class NewUser(Input):
    kind = serializers.ChoiceField(choices=Kind.choices)
    username = Text(max_length=names.MAX_LENGTH)
    display_name = Text(max_length=names.MAX_LENGTH, required=False, allow_blank=True)
    email = Text(max_length=names.MAX_LENGTH, required=False, allow_blank=True)
    purpose = Text(max_length=names.MAX_TEXT, required=False, allow_blank=True)
    accountable = Text(max_length=names.MAX_LENGTH, required=False)
    roles = serializers.ListField(child=Text(max_length=names.MAX_LENGTH), max_length=100, required=False)

    def validate_accountable(self, username: str) -> User:
        return person_named(username)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for name in {"accountable", "purpose"} & set(attrs) if attrs["kind"] == Kind.PERSON else ():
            raise ValidationError({name: "Only a service account has it."})
        return attrs


class UserChange(Change):
    display_name = Text(max_length=names.MAX_LENGTH, required=False, allow_blank=True)
    email = Text(max_length=names.MAX_LENGTH, required=False, allow_blank=True)
    purpose = Text(max_length=names.MAX_TEXT, required=False, allow_blank=True)


class Groups(Input):
    groups = serializers.ListField(
        child=serializers.ChoiceField(choices=[OPERATORS, AUDITORS]), max_length=2, help_text="All that there will be."
    )


class Successor(Input):
    to = Text(max_length=names.MAX_LENGTH, help_text="The person who is accountable from now on.")
    reason = Text(max_length=names.MAX_TEXT)

    def validate_to(self, username: str) -> User:
        return person_named(username)


class NewAssignment(Input):
    user = Text(max_length=names.MAX_LENGTH)
    role = Text(max_length=names.MAX_LENGTH)

    def validate_user(self, username: str) -> User:
        """Asked by administrators alone, who may know of everybody."""
        user: User | None = User.objects.named(username).first()
        if user is None:
            raise ValidationError(f"There is no user {username[:100]}.")
        return user


def person_named(username: str) -> User:
    person: User | None = User.objects.people().named(username).first()
    if person is None:
        raise ValidationError(f"There is no person {username[:100]}.")
    return person


class RoleToAssign(Input):
    role = Text(max_length=names.MAX_LENGTH)


class RoleToRemove(RoleToAssign):
    reason = Text(max_length=names.MAX_TEXT)


class RoleChange(Change):
    description = Text(max_length=names.MAX_TEXT, required=False, allow_blank=True)
    policies = serializers.ListField(child=serializers.DictField(), max_length=1_000, required=False)
    max_token_days = serializers.IntegerField(min_value=1, max_value=3_650, required=False, allow_null=True)


class NewRole(RoleChange):
    name = Text(max_length=names.MAX_LENGTH)


class PoolChange(Change):
    description = Text(max_length=names.MAX_TEXT, required=False, allow_blank=True)
    backend = Text(max_length=names.MAX_LENGTH, required=False)
    maintenance = serializers.BooleanField(required=False)
    online = serializers.BooleanField(required=False)
    quota_used = serializers.IntegerField(min_value=0, max_value=LARGEST, required=False)
    quota_limit = serializers.IntegerField(min_value=0, max_value=LARGEST, required=False)
    total_usage = serializers.IntegerField(min_value=0, max_value=LARGEST, required=False)
    total_capacity = serializers.IntegerField(min_value=0, max_value=LARGEST, required=False)


class NewPool(PoolChange):
    name = Text(max_length=names.MAX_LENGTH)
