from profiles.admin.people import PersonSection
from profiles.admin.pools import PoolSection
from profiles.admin.roles import RoleSection
from profiles.admin.service_accounts import ServiceAccountSection

__all__ = ["PersonSection", "PoolSection", "RoleSection", "ServiceAccountSection"]
