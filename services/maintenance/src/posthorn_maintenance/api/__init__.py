"""The management API: one module per resource, JSON over HTTP."""
