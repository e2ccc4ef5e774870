from django.contrib import admin


class Console(admin.AdminSite):
    site_header = "OSMO portal"
    site_title = "OSMO portal"
    index_title = "Console"
    enable_nav_sidebar = True
