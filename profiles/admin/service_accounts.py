from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from osmo_portal.console import words
from osmo_portal.console.change import Change
from osmo_portal.console.filters import TypedFilter
from profiles.admin.fields import PersonField
from profiles.admin.leavers import LEFT_BEHIND, NO_RIGHT_CHANGES, came_from_queue, leavers_page, queue_address
from profiles.admin.users import (
    AssignRole,
    Deactivate,
    Delete,
    Reactivate,
    RemoveRole,
    StandingFilter,
    UserChange,
    UserSection,
)
from profiles.models import Kind, Role, ServiceAccount, User
from profiles.names import MAX_LENGTH, MAX_TEXT
from profiles.rules import DEFAULT_ROLE


def _purpose() -> forms.CharField:
    return forms.CharField(
        max_length=MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="What it does and where it runs, so that others know what breaks without it.",
    )


class AddServiceAccountForm(forms.Form):
    username = forms.CharField(label="User id", max_length=MAX_LENGTH, help_text="For example nightly-build.")
    purpose = _purpose()
    accountable = PersonField(label="Accountable person", help_text="Whom to ask. A user id.")
    roles = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Its tokens can carry these roles or some of them. More can be assigned later.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = Role.objects.existing().exclude(name=DEFAULT_ROLE)
        self.fields["roles"].choices = [(name, name) for name in known.values_list("name", flat=True)]  # type: ignore[attr-defined]


class AddServiceAccount(Change):
    slug, label = "new", "Add service account"
    form_class = AddServiceAccountForm
    explanation = ("A service account is what a program acts as. It has no password and cannot sign in here.",)

    def get_initial(self) -> dict[str, Any]:
        return {"accountable": self.by.user}

    def perform(self, **fields: Any) -> str:
        self.record = User.create_service_account(by=self.by, **fields)
        return f"{self.record} is here. Issue a token for it now."


class PurposeForm(forms.Form):
    purpose = _purpose()
    display_name = forms.CharField(max_length=MAX_LENGTH, required=False)
    email = forms.EmailField(label="E-mail", required=False)


class Describe(UserChange):
    slug, label, heading = "describe", "Change", "Change {}"
    submit = "Save"
    form_class = PurposeForm

    def get_initial(self) -> dict[str, Any]:
        return {name: getattr(self.record, name) for name in PurposeForm.base_fields}

    def perform(self, **texts: str) -> str:
        self.record.describe(by=self.by, **texts)
        return f"{self.record} is changed."


class HandOverForm(forms.Form):
    to = PersonField(label="Accountable from now on", help_text="A user id.")
    reason = forms.CharField(required=False, max_length=MAX_TEXT, help_text="Kept with the record for good.")


class HandOver(UserChange):
    slug, label, heading = "hand-over", "Hand over", "Make somebody else accountable for {}"
    form_class = HandOverForm
    explanation = (NO_RIGHT_CHANGES,)

    def perform(self, to: User, reason: str) -> str:
        self.record.hand_over(to=to, by=self.by, reason=reason)
        return f"{to} is accountable for {self.record} now."

    def get_success_url(self) -> str:
        return queue_address() if came_from_queue(self.request) else super().get_success_url()


class AccountableFilter(TypedFilter):
    title = "accountable person"
    parameter_name = "accountable"
    suggest = "admin:profiles_person_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.filter(accountable__username=typed)


class ServiceAccountFilter(StandingFilter):
    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [*super().lookups(request, model_admin), (LEFT_BEHIND, "accountable person left")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        queryset = super().queryset(request, queryset)
        return queryset.left_behind() if self.value() == LEFT_BEHIND else queryset


@admin.register(ServiceAccount)
class ServiceAccountSection(UserSection):
    kind = Kind.SERVICE
    list_display = ("username", "purpose", "role_names", "accountable_person", "state")
    list_filter = (ServiceAccountFilter, AccountableFilter)
    fields = ("purpose", "accountable_person", "display_name", "email", "state", "created", "created_by")
    readonly_fields = fields
    list_changes = (AddServiceAccount,)
    record_changes = (Describe, AssignRole, HandOver, Deactivate, Reactivate, Delete, RemoveRole)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.GET.get("state") == LEFT_BEHIND:
            return leavers_page(self, request)
        return super().changelist_view(request, extra_context)

    @admin.display(description="accountable person")
    def accountable_person(self, account: User) -> str:
        person = account.accountable
        if person is None:
            return words.badge("nobody")
        gone = words.badge("left") if person.deleted_at or not person.is_active else ""
        return format_html("{} {}", words.link("profiles_person", person.pk, person), gone)
