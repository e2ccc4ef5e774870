from django.urls import path

from tokens.me.api_page import ApiPage
from tokens.me.issue import IssueMine
from tokens.me.pages import CHANGES, PLACE, MyAccount, MyToken, MyTokens, for_people
from tokens.me.terminals import Decide, EndTerminal, OwnTerminals, TypeCode

urlpatterns = [
    path("", for_people(MyTokens.as_view()), name="my_tokens"),
    path("api/", for_people(ApiPage.as_view()), name="api_page"),
    path("tokens/new/", for_people(IssueMine.as_view(section=PLACE)), name="my_token_new"),
    path("tokens/<int:pk>/", for_people(MyToken.as_view()), name="my_token"),
    path("device/", for_people(TypeCode.as_view()), name="sign_in_terminal"),
    path("device/decide/", for_people(Decide.as_view()), name="decide_on_terminal"),
    path("terminals/<int:pk>/end/", for_people(EndTerminal.as_view(section=OwnTerminals())), name="end_terminal"),
    path("accounts/<int:pk>/", for_people(MyAccount.as_view()), name="my_account"),
    *(
        path(
            f"tokens/<int:pk>/{change.slug}/",
            for_people(change.as_view(section=PLACE)),
            name=f"my_token_{change.slug}",
        )
        for change in CHANGES
    ),
]
