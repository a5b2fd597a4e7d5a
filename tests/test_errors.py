import inspect

from tomoseg import errors


def test_one_except_catches_every_error():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    assert len(kinds) == 11
    assert [kind for kind in kinds if not issubclass(kind, errors.TomosegError)] == []
    # An error that is also a ValueError or an OSError would be swallowed by handlers meant for something else.
    assert [kind for kind in kinds if kind.__mro__[-3:] != (Exception, BaseException, object)] == []
