"""WebDAV, CalDAV and CardDAV."""
