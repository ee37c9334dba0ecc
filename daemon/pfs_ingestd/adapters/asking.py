"""Questions that may never be answered, asked so that nobody waits for ever."""

import threading
from collections.abc import Callable
from typing import TypeVar

from pfs_ingestd.errors import Code, Outage

__all__ = ["ask"]

_T = TypeVar("_T")


def ask(question: Callable[[], _T], *, seconds: float | None, what: str, code: Code) -> _T:
    """Get an answer from what may hang: a call to a file server that is gone never returns.

    The question is asked in a thread of its own, which is left behind if there is no answer; it does not keep
    the process from ending.

    Parameters
    ----------
    question : `~collections.abc.Callable`
        Gives the answer, or raises.
    seconds : `float` or `None`
        How long to wait; `None` waits for ever.
    what : `str`
        Who is asked, for the message.
    code : `~pfs_ingestd.errors.Code`
        The reason, if there is no answer.

    Raises
    ------
    Outage
        If there is no answer in time.
    """
    answers: list[_T] = []
    failures: list[BaseException] = []

    def put() -> None:
        try:
            answers.append(question())
        except BaseException as error:  # noqa: BLE001 (it is raised again where the answer is waited for)
            failures.append(error)

    asking = threading.Thread(target=put, name=f"question to {what}", daemon=True)
    asking.start()
    asking.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise Outage(
            code,
            f"{what} did not answer within {seconds:g} s",
            hint="a mount that hangs, or a server that is away: df, mount, ping",
        )
    return answers[0]
