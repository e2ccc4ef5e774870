from tokens.admin import panels
from tokens.admin.section import AccessTokenSection

__all__ = ["AccessTokenSection", "panels"]
