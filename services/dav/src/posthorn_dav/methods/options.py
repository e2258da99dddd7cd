"""OPTIONS: what the service can do (RFC 4918 10.1, RFC 4791 5.1, RFC 6352 6.1)."""

from posthorn_dav.request import Answer, Request

DAV_HEADER = "1, 3, extended-mkcol, calendar-access, addressbook"
ALLOW = "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH, MKCOL, MKCALENDAR, REPORT"
HEADERS = (("DAV", DAV_HEADER), ("Allow", ALLOW))


async def options(request: Request) -> Answer:
    """Answer the same for every resource."""
    del request
    return Answer(200, headers=HEADERS)
