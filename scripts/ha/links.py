"""A TCP connection that the check can slow down or cut: between two servers."""
import collections
import socket
import threading
import time


class Link:
    """Listens on a port and passes everything to another. `delay` holds back what comes from there,
    in seconds. What is held back is lost when the other side goes, as on a real network."""

    def __init__(self, port, target):
        self.port, self.target = port, target
        self.delay = 0.0
        self.is_cut = False
        self.pairs = set()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self.accept, daemon=True, name=f"link {port}").start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.is_cut:
                    raise ConnectionError
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self.lock:
                self.pairs.add(pair)
            threading.Thread(target=self.pass_on, args=(client, server, pair), daemon=True).start()
            self.answer(server, client, pair)

    def pass_on(self, source, sink, pair):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        self.close(pair)

    def answer(self, source, sink, pair):
        """Two threads: one reads and notes when, one writes when it is time."""
        waiting, news = collections.deque(), threading.Condition()

        def read():
            try:
                while data := source.recv(1 << 16):
                    with news:
                        waiting.append((time.monotonic(), data))
                        news.notify()
            except OSError:
                pass
            self.close(pair)
            with news:
                waiting.append((0, None))
                news.notify()

        def write():
            try:
                while True:
                    with news:
                        news.wait_for(lambda: waiting)
                        came, data = waiting[0]
                    if data is None:
                        return
                    rest = came + self.delay - time.monotonic()
                    if rest > 0:
                        time.sleep(min(rest, 0.05))
                        continue
                    with news:
                        waiting.popleft()
                    sink.sendall(data)
            except OSError:
                self.close(pair)

        for work in (read, write):
            threading.Thread(target=work, daemon=True).start()

    def close(self, pair):
        with self.lock:
            if pair not in self.pairs:
                return
            self.pairs.discard(pair)
        for end in pair:
            # Another thread may wait in recv: only a shutdown wakes it.
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def cut(self):
        self.is_cut = True
        for pair in list(self.pairs):
            self.close(pair)

    def mend(self):
        self.is_cut = False
