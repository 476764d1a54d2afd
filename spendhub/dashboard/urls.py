"""Addresses of the pages that belong to no single table."""

from django.contrib import admin
from django.urls import path

from spendhub.dashboard import views

app_name = "dashboard"

urlpatterns = [
    path("switch/", admin.site.admin_view(views.switch), name="switch_to_all"),
    path("switch/<slug:slug>/", admin.site.admin_view(views.switch), name="switch"),
    path("timezone/<int:tenant_id>/", admin.site.admin_view(views.move_timezone), name="timezone"),
]
