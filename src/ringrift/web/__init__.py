"""What is served over HTTP."""

from ringrift.web.operations import listen, operations, serve

__all__ = ["listen", "operations", "serve"]
