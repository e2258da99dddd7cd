"""What goes wrong with a document itself; what goes wrong around it is posthorn_model.errors.Unavailable."""

from posthorn_model.errors import PosthornError


class Unreadable(PosthornError):
    """The document is broken, locked or goes beyond a limit. Trying again gives the same: index without it."""

    default = "the document cannot be read"
