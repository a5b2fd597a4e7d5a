"""What the interface refuses, with the status of its answer."""

from __future__ import annotations

from http import HTTPStatus

from tomoseg.errors import TomosegError


class RefusalError(TomosegError):
    """A request that is not done.

    Attributes:
        status: The status of the answer.

    Args:
        status: The status of the answer.
        message: One sentence.

    Example:
        >>> RefusalError(HTTPStatus.NOT_FOUND, "expected a job, got none").status
        404
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = int(status)
