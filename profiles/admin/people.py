from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, URLResolver, path

from osmo_portal.console import words
from osmo_portal.console.change import Change, ReasonForm
from osmo_portal.console.passwords import NewPasswordForm
from osmo_portal.events.actor import AUDITORS, OPERATORS
from profiles.admin.fields import PersonField
from profiles.admin.leavers import NO_RIGHT_CHANGES, came_from_queue, queue_address
from profiles.admin.users import (
    NAMED,
    AssignRole,
    Deactivate,
    Delete,
    Reactivate,
    RemoveRole,
    UserChange,
    UserSection,
    left_behind,
)
from profiles.models import Kind, Person, User
from profiles.names import MAX_LENGTH


class AddPersonForm(forms.Form):
    username = forms.CharField(label="User id", max_length=MAX_LENGTH, help_text="What OSMO calls the person.")
    display_name = forms.CharField(max_length=MAX_LENGTH, required=False)
    email = forms.EmailField(label="E-mail", required=False)


class AddPerson(Change):
    slug, label = "new", "Add person"
    form_class = AddPersonForm
    explanation = ("The person gets the role osmo-user, and no password yet.",)

    def perform(self, **texts: str) -> str:
        self.record = User.create_person(by=self.by, **texts)
        return f"{self.record} is here. Set a password if the person shall sign in to this console."


class DescribeForm(forms.Form):
    display_name = forms.CharField(max_length=MAX_LENGTH, required=False)
    email = forms.EmailField(label="E-mail", required=False)


class Describe(UserChange):
    slug, label, heading = "describe", "Change", "Change {}"
    submit = "Save"
    form_class = DescribeForm

    def get_initial(self) -> dict[str, Any]:
        return {"display_name": self.record.display_name, "email": self.record.email}

    def perform(self, **texts: str) -> str:
        self.record.describe(by=self.by, **texts)
        return f"{self.record} is changed."


class GroupsForm(forms.Form):
    groups = forms.MultipleChoiceField(
        label="The person is",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[
            (OPERATORS, "an operator: may issue service tokens with plain roles, and suspend and revoke any token"),
            (AUDITORS, "an auditor: reads everything in this console, changes nothing"),
        ],
    )


class ChooseGroups(UserChange):
    slug, label, heading = "groups", "Operator or auditor", "What {} may do in this console"
    submit = "Save"
    form_class = GroupsForm
    explanation = ("Administrators are those who hold the role osmo-admin: assign or remove it on the person's page.",)

    def get_initial(self) -> dict[str, Any]:
        return {"groups": [*self.record.groups.values_list("name", flat=True)]}

    def perform(self, groups: list[str]) -> str:
        self.record.put_into_groups(groups, by=self.by)
        return f"{self.record} is in these groups now: {', '.join(groups) or 'none'}."


class SetPassword(UserChange):
    slug, label, heading = "password", "Set password", "Set the password of {}"
    form_class = NewPasswordForm
    explanation = ("Whoever is signed in as this person is signed out.",)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "user": self.record}

    def perform(self, new_password1: str, **_: str) -> str:
        self.record.change_password(new_password1, by=self.by)
        return f"{self.record} has a new password."


class HandOverAccountsForm(ReasonForm):
    to = PersonField(label="Accountable from now on", help_text="A user id.")
    field_order = ["to"]


class HandOverAccounts(Change):
    """Of people who left, too, and of deleted ones: their accounts are why this is needed."""

    slug, label, heading = "hand-over-accounts", "Hand over accounts", "Make somebody else accountable for what {} was"
    submit = "Hand over"
    form_class = HandOverAccountsForm

    @classmethod
    def fits(cls, record: User) -> bool:
        return bool(User.objects.service_accounts().filter(accountable=record).exists())

    def explained(self) -> list[str]:
        mine = User.objects.service_accounts().filter(accountable=self.record)
        count = mine.count()
        named = ", ".join(mine.order_by("username").values_list("username", flat=True)[:NAMED])
        more = f" and {count - NAMED} more" if count > NAMED else ""
        return [f"This is about {count} service account{'s' if count > 1 else ''}: {named}{more}.", NO_RIGHT_CHANGES]

    def perform(self, to: User, reason: str) -> str:
        count = self.record.hand_over_accounts(to=to, by=self.by, reason=reason)
        return f"{to} is accountable for {count} service account{'s' if count > 1 else ''} of {self.record} now."

    def get_success_url(self) -> str:
        return queue_address() if came_from_queue(self.request) else super().get_success_url()


@admin.register(Person)
class PersonSection(UserSection):
    kind = Kind.PERSON
    list_display = ("username", "display_name", "role_names", "group_list", "last_sign_in", "state")
    fields = ("display_name", "email", "state", "group_list", "last_sign_in", "created", "created_by")
    readonly_fields = fields
    list_changes = (AddPerson,)
    record_changes = (
        Describe,
        AssignRole,
        ChooseGroups,
        SetPassword,
        HandOverAccounts,
        Deactivate,
        Reactivate,
        Delete,
        RemoveRole,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("groups")

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]
        whoever = self.admin_site.admin_view(self.whoever)
        return [path("whoever/<int:pk>/", whoever, name="profiles_person_whoever"), *super().get_urls()]

    def whoever(self, request: HttpRequest, pk: int) -> HttpResponse:
        """To the page of a user of either kind. Events know users by number alone."""
        user = get_object_or_404(User, pk=pk)
        kind = "serviceaccount" if user.is_service_account else "person"
        return redirect(f"admin:profiles_{kind}_change", user.pk)

    @admin.display(description="last sign-in")
    def last_sign_in(self, person: User) -> str:
        return words.stamp_and_distance(person.last_signed_in_at) if person.last_signed_in_at else "never"

    @admin.display(description="operator or auditor")
    def group_list(self, person: User) -> str:
        return ", ".join(sorted(group.name for group in person.groups.all())) or words.NOTHING


def _what_stops(user: User) -> str:
    if user.is_service_account:
        return "Its tokens stop working."
    return (
        "Every browser session of the person ends, nobody can sign in as the person again, and the person's roles stop "
        "counting."
    )


UserSection.consequences += [_what_stops, left_behind]
