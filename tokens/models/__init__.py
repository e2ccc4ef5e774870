from tokens.models.access_token import AccessToken, TokenRole
from tokens.models.last_use import LastUse
from tokens.models.secret import Secret
from tokens.models.signing_key import SigningKey

__all__ = ["AccessToken", "LastUse", "Secret", "SigningKey", "TokenRole"]
