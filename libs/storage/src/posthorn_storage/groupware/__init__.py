"""Calendars, address books and folders of files, with their items."""

from posthorn_storage.groupware.store import GroupwareStore, NewItem

__all__ = ["GroupwareStore", "NewItem"]
