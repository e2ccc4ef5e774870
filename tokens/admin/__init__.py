from tokens.admin import panels, reach, terminals
from tokens.admin.section import AccessTokenSection

__all__ = ["AccessTokenSection", "panels", "reach", "terminals"]
