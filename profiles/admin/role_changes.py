"""Roles made, changed and deleted: whoever does it first sees who is hit, and does what was seen and nothing else."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac

from osmo_portal.console.change import Change, ReasonForm, show
from profiles.admin.fields import PoliciesField, PoolField
from profiles.impact import RoleEdit
from profiles.models import Pool, Role
from profiles.names import MAX_LENGTH, MAX_TEXT
from profiles.policies import Operation, pool_policies
from profiles.rules import NEVER_WITH_POOL_ACCESS

POLICIES_HELP = (
    'A list, for example [{"effect": "Allow", "actions": ["workflow:*"], "resources": ["pool/my_pool*"]}], or in the '
    'form of OSMO 6.0 and 6.1 [{"actions": [{"base": "http", "path": "/api/pool/my_pool*", "method": "Post"}]}]. '
    "Deny wins over allow."
)
ROLE_CHANGED = "Somebody changed the role since you looked. Nothing was saved. This is what saving would do now."
TEXT_CHANGED = "This differs from what you looked at. Nothing was saved. This is what saving would do now."


def _lifetime() -> forms.IntegerField:
    return forms.IntegerField(
        label="Maximum lifetime of its tokens (days)",
        required=False,
        min_value=1,
        max_value=3650,
        help_text="Empty: the portal-wide maximum.",
    )


class SeenForm(forms.Form):
    seen = forms.CharField(required=False, max_length=200, widget=forms.HiddenInput)


class RoleForm(SeenForm):
    description = forms.CharField(max_length=MAX_TEXT, required=False, widget=forms.Textarea(attrs={"rows": 2}))
    policies = PoliciesField(required=False, help_text=POLICIES_HELP)
    max_token_days = _lifetime()


class AddRoleForm(RoleForm):
    name = forms.CharField(max_length=MAX_LENGTH)
    field_order = ["name"]


class Previewed(Change):
    """Derived classes say what the form makes of the role (`draft`). What nobody could feel is done without a look.

    `seen` stands for what was shown: this person, the role as it was, and what was to become of it.
    """

    template_name = "portal/role_change.html"

    def draft(self, **fields: Any) -> RoleEdit:
        """Raises ValidationError for what the way in would refuse."""
        raise NotImplementedError

    def form_valid(self, form: Any) -> HttpResponse:
        seen = form.cleaned_data.pop("seen")
        try:
            edit = self.draft(**form.cleaned_data)
        except ValidationError as error:
            show(error, form)
            return self.form_invalid(form)
        if edit.is_felt and not constant_time_compare(seen, self.mark(edit)):
            return self._look(form, edit, seen)
        return super().form_valid(form)

    def _look(self, form: Any, edit: RoleEdit, seen: str) -> HttpResponse:
        note = ""
        if seen:
            note = TEXT_CHANGED if seen.startswith(_state(edit)) else ROLE_CHANGED
        form.data = form.data.copy()
        form.data["seen"] = self.mark(edit)
        return self.render_to_response(self.get_context_data(form=form, edit=edit, note=note))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        edit = context.get("edit")
        if edit and edit.after:
            context["stored"] = PoliciesField().prepare_value(edit.after.policies)
        return context

    def mark(self, edit: RoleEdit) -> str:
        becomes = [edit.after.name, edit.after.fingerprint] if edit.after else None
        text = json.dumps([self.by.user.pk, self.slug, _state(edit), becomes])
        return f"{_state(edit)}.{salted_hmac('profiles.admin.role_changes', text, algorithm='sha256').hexdigest()}"


def _state(edit: RoleEdit) -> str:
    return edit.before.fingerprint if edit.before else "new"


class AddRole(Previewed):
    slug, label = "new", "Add role"
    form_class = AddRoleForm
    explanation = (
        "A role that gives submit, exec or port-forward in any pool can be assigned by administrators only.",
        "Before it is made, you see in words what it gives.",
    )

    def draft(self, **fields: Any) -> RoleEdit:
        return RoleEdit(None, Role.drafted(**fields))

    def perform(self, **fields: Any) -> str:
        self.record = Role.create(by=self.by, **fields)
        return f"The role {self.record} is here."


class ChangeRole(Previewed):
    slug, label, heading = "edit", "Change", "Change the role {}"
    submit = "Save"
    form_class = RoleForm
    explanation = (
        "Every holder and every token of the role feels it at once. Before anything is saved, you see who is hit.",
        "Tokens that live longer than a lower maximum are shortened for good; raising it lengthens none.",
    )

    @classmethod
    def fits(cls, record: Role) -> bool:
        return record.deleted_at is None and not record.immutable

    def get_initial(self) -> dict[str, Any]:
        return {name: getattr(self.record, name) for name in ("description", "policies", "max_token_days")}

    def draft(self, **fields: Any) -> RoleEdit:
        return RoleEdit(self.record, self.record.altered(**fields))

    def perform(self, **fields: Any) -> str:
        after = self.record.altered(**fields)
        changed = {name: value for name, value in fields.items() if getattr(after, name) != getattr(self.record, name)}
        if not changed:
            return f"The role {self.record} is as it was: nothing was to be changed."
        self.record.change(by=self.by, seen=self.record.fingerprint, **changed)
        return f"The role {self.record} is changed."


class DeleteForm(ReasonForm, SeenForm):
    pass


class DeleteRole(Previewed):
    slug, label, heading, danger = "delete-record", "Delete", "Delete the role {}", True
    form_class = DeleteForm
    explanation = (
        "Users and tokens lose at once what it gave; a token without another role stops working.",
        "A new role of the same name gives nothing back.",
    )

    @classmethod
    def fits(cls, record: Role) -> bool:
        return record.deleted_at is None and not record.immutable and record.name not in NEVER_WITH_POOL_ACCESS

    def get_initial(self) -> dict[str, Any]:
        return {"seen": self.mark(self.draft())}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"edit": self.draft(), **kwargs})

    def draft(self, **fields: Any) -> RoleEdit:
        return RoleEdit(self.record, None)

    def perform(self, reason: str) -> str:
        self.record.mark_deleted(by=self.by, reason=reason, seen=self.record.fingerprint)
        return f"The role {self.record} is deleted. The record stays here."


class PoolRoleForm(SeenForm):
    pool = PoolField()
    operations = forms.MultipleChoiceField(
        label="What it gives there",
        widget=forms.CheckboxSelectMultiple,
        initial=[operation.value for operation in Operation],
        choices=[
            (Operation.SUBMIT.value, "submit: start workflows"),
            (Operation.EXEC.value, "exec: enter them, and copy files to and from them"),
            (Operation.PORT_FORWARD.value, "port-forward: reach their ports"),
        ],
        error_messages={"required": "Choose at least one. A role that gives nothing opens no pool."},
    )
    name = forms.CharField(
        label="Name of the role", max_length=MAX_LENGTH, required=False, help_text="Empty: osmo- and the pool's name."
    )
    max_token_days = _lifetime()


class MakePoolRole(Previewed):
    slug, label = "pool-role", "Make a pool role"
    form_class = PoolRoleForm
    explanation = ("It opens one pool and nothing else. Only administrators can give it to somebody.",)

    def draft(self, **fields: Any) -> RoleEdit:
        return RoleEdit(None, Role.drafted(**_pool_role(**fields)))

    def perform(self, **fields: Any) -> str:
        self.made = Role.create(by=self.by, **_pool_role(**fields))
        return f"The role {self.made} is here. Assign it to those who shall use the pool."

    def answer(self, outcome: Any) -> HttpResponse:
        super().answer(outcome)
        return HttpResponseRedirect(reverse("admin:profiles_role_change", args=[self.made.pk]))


class MakeRoleOfPool(MakePoolRole):
    """The same, on the pool's page."""

    heading = "Make a role for the pool {}"

    @classmethod
    def fits(cls, record: Pool) -> bool:
        return record.deleted_at is None

    def get_initial(self) -> dict[str, Any]:
        return {"pool": self.record.name, "name": f"osmo-{self.record.name}"[:MAX_LENGTH]}


def _pool_role(pool: Pool, operations: list[str], name: str, max_token_days: int | None) -> dict[str, Any]:
    return {
        "name": name or f"osmo-{pool.name}",
        "description": f"Opens the pool {pool.name}.",
        "policies": pool_policies(pool.name, map(Operation, operations)),
        "max_token_days": max_token_days,
    }
