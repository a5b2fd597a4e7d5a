"""Errors with an HTTP status, and the answers that report them."""

from __future__ import annotations

from http import HTTPStatus

from tomoseg.errors import TomosegError
from tomoseg.language.sentences import sentence


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


def answer_of(text: str) -> dict[str, str]:
    """Body of the response to a refused request: its message in English, and in French for the page.

    Args:
        text: The sentence.

    Example:
        >>> answer_of("expected the id of a job, got one that is not there, or no more")["detail_fr"]
        "il faut l'identifiant d'une tâche, celle-ci n'est pas là, ou n'y est plus"
    """
    return {"detail": text, "detail_fr": sentence(text, "fr")}
