import pytest


@pytest.fixture(autouse=True, scope="module")
def no_curves():
    """They take longer to draw than an epoch of a tiny network to train."""
    from tomoseg.workflows import course

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "draw_history", lambda history, path, lang: None)
        yield
