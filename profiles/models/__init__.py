from profiles.models.assignment import RoleAssignment
from profiles.models.pool import Pool
from profiles.models.role import Role
from profiles.models.settings import Settings
from profiles.models.user import Kind, Person, ServiceAccount, User

__all__ = ["Kind", "Person", "Pool", "Role", "RoleAssignment", "ServiceAccount", "Settings", "User"]
