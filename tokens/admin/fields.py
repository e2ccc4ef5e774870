from typing import Any

from django import forms

EXAMPLE = "Write the day as YYYY-MM-DD, for example 2026-01-31."


class DayField(forms.DateField):
    """One labelled date input, for all browsers and screen readers."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
        errors = {"invalid": EXAMPLE, "required": f"Say when it ends. {EXAMPLE}"}
        super().__init__(widget=widget, input_formats=["%Y-%m-%d"], error_messages=errors, **kwargs)
