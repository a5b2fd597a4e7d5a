"""Errors with an HTTP status."""

from __future__ import annotations

from http import HTTPStatus

from tomoseg.errors import TomosegError


class RefusalError(TomosegError):
    """A refused request.

    Attributes:
        status: HTTP status of the response.

    Args:
        status: HTTP status of the response.
        message: One sentence.

    Example:
        >>> RefusalError(HTTPStatus.NOT_FOUND, "expected a job, got none").status
        404
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = int(status)
