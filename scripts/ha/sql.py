"""Statements to Postgres, each within a time limit: a server that was stopped never answers."""
import select
import threading
import time

import psycopg2
import psycopg2.extensions

limits = threading.local()


class Silence(Exception):
    """The server did not answer in time. The connection is closed, and nothing is cancelled."""


FAILURES = (psycopg2.Error, Silence)


def wait(connection):
    end = time.monotonic() + getattr(limits, "seconds", 30.0)
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        rest = end - time.monotonic()
        if rest <= 0:
            raise Silence
        is_reading = state == psycopg2.extensions.POLL_READ
        select.select([connection] if is_reading else [], [] if is_reading else [connection], [], rest)


psycopg2.extensions.set_wait_callback(wait)


def connect(address, seconds=3.0):
    """Connects to one address, or to the first of a list that can be used: the limit is for each,
    which libpq does not do in non-blocking mode."""
    failure = None
    for one in [address] if isinstance(address, str) else address:
        limits.seconds = seconds
        try:
            connection = psycopg2.connect(one)
        except FAILURES as error:
            failure = error
            continue
        connection.autocommit = True
        return connection
    raise failure


def rows(connection, statement, values=None, seconds=30.0):
    limits.seconds = seconds
    with connection.cursor() as found:
        found.execute(statement, values)
        return found.fetchall() if found.description else []


def ask(address, statement, values=None, seconds=30.0):
    """One statement on a connection of its own."""
    connection = connect(address)
    try:
        return rows(connection, statement, values, seconds)
    finally:
        connection.close()
