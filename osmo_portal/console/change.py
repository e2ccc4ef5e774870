"""A change as a page: it says what will happen, asks for what is needed, and calls one way in."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.views.generic import FormView

from osmo_portal.events.actor import Actor, Door


class Place(Protocol):
    """Where a change is at home: a section of the console, or the pages of a person."""

    door: Door
    admin_site: Any
    opts: Any
    heading: str

    def get_object(self, request: HttpRequest, object_id: str) -> Any:
        """The record of that number, if whoever asks may know of it; else None."""

    def address(self, slug: str, *args: Any) -> str:
        """Of the page `changelist`, of `change` (one record), or of a change by its slug."""


class ReasonForm(forms.Form):
    reason = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 2}), max_length=2_000, help_text="Kept with the record for good."
    )


class Change(FormView):
    """Derived classes declare the words, `permits` (else 403), `fits` (else there is no button), and `perform`.

    `perform` gets the form's values by name, calls the way in, and returns the sentence that the next page begins with.
    What the way in refuses becomes an error of the form, so nothing is ever said to be done that was not.
    """

    section: Any = None  # a Place, most often a Section; set by as_view
    slug: ClassVar[str]
    label: ClassVar[str]
    heading: ClassVar[str] = ""  # `{}` stands for the record; by default the label
    submit: ClassVar[str] = ""  # what the form's button says; by default the label
    on_record: ClassVar[bool] = True  # whether there is a button for it among those of the record
    explanation: ClassVar[tuple[str, ...]] = ()
    danger: ClassVar[bool] = False

    http_method_names = ["get", "head", "post", "options"]
    template_name = "portal/change.html"
    form_class: Any = forms.Form

    by: Actor
    record: Any
    perform: Callable[..., Any]

    @classmethod
    def permits(cls, by: Actor, record: Any) -> bool:
        """Whether `by` may ever do this with the record."""
        return by.is_administrator

    @classmethod
    def fits(cls, record: Any) -> bool:
        """Whether the record is in a state in which this makes sense."""
        return True

    def explained(self) -> list[str]:
        """What will happen, a sentence or two each."""
        return [*self.explanation]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.by = Actor.signed_in(request, self.section.door)
        self.record = self._find(request)
        if not self.permits(self.by, self.record):
            raise PermissionDenied("You may not do this. Ask an administrator.")
        if not self.fits(self.record):
            messages.warning(request, f"“{self.label}” is not possible as things stand now. Nothing was changed.")
            return HttpResponseRedirect(self.get_success_url())
        return super().dispatch(request, *args, **kwargs)

    def _find(self, request: HttpRequest) -> Any:
        if "pk" not in self.kwargs:
            return None
        record = self.section.get_object(request, str(self.kwargs["pk"]))
        if record is None:
            raise Http404
        return record

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            return self.answer(self.perform(**form.cleaned_data))
        except ValidationError as error:
            show(error, form)
            return self.form_invalid(form)

    def answer(self, outcome: Any) -> HttpResponse:
        messages.success(self.request, outcome)
        return HttpResponseRedirect(self.get_success_url())

    def get_success_url(self) -> str:
        if self.record is None:
            return str(self.section.address("changelist"))
        return str(self.section.address("change", self.record.pk))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        heading = (self.heading or self.label).format(self.record)
        context = {
            **self.section.admin_site.each_context(self.request),
            "title": heading,
            "opts": self.section.opts,
            "section_title": self.section.heading,
            "section_url": self.section.address("changelist"),
            "record": self.record,
            "back_url": self.get_success_url(),
            "label": self.label,
            "submit": self.submit or self.label,
            "danger": self.danger,
            "explanation": self.explained(),
        }
        return super().get_context_data(**{**context, **kwargs})


def show(error: ValidationError, form: forms.Form) -> None:
    """Puts what a way in refused beside the fields it is about, or above the form."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for name, errors in error.error_dict.items():
        for one in errors:
            form.add_error(name if name in form.fields else None, one)
