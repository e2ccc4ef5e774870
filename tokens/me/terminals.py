"""A person signs a terminal in: types its code, looks at what asks, and says yes or no. And ends what was begun so."""

from typing import Any

from allauth.core import ratelimit
from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.views.generic import FormView

from osmo_portal.console import recent
from osmo_portal.console.change import Change
from osmo_portal.events.actor import Actor
from osmo_portal.signin.adapter import TOO_MANY
from osmo_portal.signin.limits import told_to_wait
from tokens.me.pages import PLACE, Own
from tokens.models import SignInRequest, TerminalSignIn
from tokens.models.sign_in_request import GONE, readable, require_person
from tokens.terminal import CLIENT_NAME

TYPED = "terminal_to_decide"  # in the session: the request whose code was typed there


class CodeForm(forms.Form):
    code = forms.CharField(
        label="Code",
        max_length=40,
        help_text="Eight letters, as the terminal shows them. Small letters and dashes make no difference.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false", "autofocus": True}
        ),
    )


class DecisionForm(forms.Form):
    decision = forms.ChoiceField(choices=[("approve", ""), ("deny", "")])


class TerminalPage(FormView):
    """For a person who proved within minutes to be there: what is given here lasts for weeks."""

    http_method_names = ["get", "head", "post", "options"]
    title = "Sign in a terminal"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.TERMINAL_DAYS:
            raise PermissionDenied("This portal signs no terminals in.")
        self.by = Actor.signed_in(request, PLACE.door)
        require_person(self.by)
        return recent.ask(request) or super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        frame = {**PLACE.admin_site.each_context(self.request), "title": self.title, "opts": PLACE.opts}
        place = {"section_url": PLACE.address("changelist"), "section_title": PLACE.heading}
        return super().get_context_data(**{**frame, **place, **kwargs})


class TypeCode(TerminalPage):
    """An address may bring the code along; to type it, or to press the button, is for the person."""

    form_class = CodeForm
    template_name = "me/terminal_code.html"

    def get_initial(self) -> dict[str, Any]:
        return {"code": shown(self.request.GET.get("user_code", ""))}

    def form_valid(self, form: CodeForm) -> HttpResponse:
        if not ratelimit.consume(self.request, action="terminal_code"):
            form.add_error(None, TOO_MANY)
            return told_to_wait(self.render_to_response(self.get_context_data(form=form)))
        asking = SignInRequest.objects.pending().with_code(form.cleaned_data["code"]).first()
        if asking is None:
            form.add_error("code", GONE)
            return self.form_invalid(form)
        self.request.session[TYPED] = asking.pk
        return HttpResponseRedirect(reverse("decide_on_terminal"))


class Decide(TerminalPage):
    """Says what asks, from where and since when, since all that a deceiver needs is a yes."""

    form_class = DecisionForm
    template_name = "me/terminal_decide.html"
    title = "Is this your terminal?"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.asking = SignInRequest.objects.pending().filter(pk=request.session.get(TYPED, 0)).first()
        if self.asking is None:
            return HttpResponseRedirect(reverse("sign_in_terminal"))
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: DecisionForm) -> HttpResponse:
        asking = self.asking
        assert asking is not None  # noqa: S101  (dispatch has looked)
        del self.request.session[TYPED]
        approves = form.cleaned_data["decision"] == "approve"
        try:
            asking.approve(by=self.by) if approves else asking.deny(by=self.by)
        except ValidationError as error:
            messages.warning(self.request, error.messages[0])
            return HttpResponseRedirect(reverse("sign_in_terminal"))
        context = self.get_context_data(title="The terminal is signed in" if approves else "You said no")
        return self.render_to_response({**context, "done": True, "approved": approves})

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {
            "asking": self.asking,
            "client_name": CLIENT_NAME,
            "elsewhere": self.asking and self.asking.address != self.by.address,
            "here": self.by.address,
            "days": settings.TERMINAL_DAYS,
        }
        return super().get_context_data(**{**context, **kwargs})


def shown(code: str) -> str:
    """In two groups, as terminals show it; empty where it is no code."""
    letters = readable(code)
    return f"{letters[:4]}-{letters[4:]}" if letters else ""


class OwnTerminals(Own):
    def get_object(self, request: HttpRequest, object_id: str) -> Any:
        by = Actor.signed_in(request, self.door)
        return TerminalSignIn.objects.live().of(by.user).filter(pk=object_id).select_related("owner").first()


class EndTerminal(Change):
    slug, label, heading, submit, danger = "end", "End the sign-in", "End this sign-in", "End it", True
    explanation = ("The terminal is signed out at once. It asks for a new sign-in when it is used again.",)

    @classmethod
    def permits(cls, by: Actor, record: Any) -> bool:
        return not by.changes_nothing

    def perform(self, **_: Any) -> str:
        self.record.end(by=self.by, reason="Ended by the person.")
        return "The terminal is signed out."

    def get_success_url(self) -> str:
        return PLACE.address("changelist")
