from profiles.models.assignment import RoleAssignment
from profiles.models.pool import Pool
from profiles.models.revision import ConfigType, Item, Revision
from profiles.models.role import Role
from profiles.models.settings import Settings
from profiles.models.user import Kind, Person, ServiceAccount, User

__all__ = [
    "ConfigType",
    "Item",
    "Kind",
    "Person",
    "Pool",
    "Revision",
    "Role",
    "RoleAssignment",
    "ServiceAccount",
    "Settings",
    "User",
]
