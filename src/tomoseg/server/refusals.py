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
    r"""Body of the response to a refused request: its message in English, and in French for the page.

    Args:
        text: The sentence.

    Example:
        >>> answer_of("expected the id of a job, got one that does not exist or was removed; check it")["detail_fr"]
        "il faut l'identifiant d'une tâche, celle-ci n'existe pas ou a été supprimée\xa0; vérifiez-le"
    """
    return {"detail": text, "detail_fr": sentence(text, "fr")}
