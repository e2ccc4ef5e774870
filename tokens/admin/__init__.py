from tokens.admin import panels, reach
from tokens.admin.section import AccessTokenSection

__all__ = ["AccessTokenSection", "panels", "reach"]
