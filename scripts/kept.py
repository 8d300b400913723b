"""Opens so many connections to ADDRESS PORT, asks each for /name again and again until its input ends, and then once more.

Says "open" when all are there, and at last how many failed, and on how many another server answered than the first time. They are
spread over as many processes as the limit of open files asks for.
"""

import multiprocessing
import resource
import select
import socket
import sys
import time

REQUEST = b"GET /name HTTP/1.1\r\nHost: x\r\n\r\n"
AT_A_TIME = 256
PATIENCE = 30.0


class Connection:
    """One that stays: what has come of the answer, and who answered first."""

    def __init__(self, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.connect_ex((address, port))
        self.server = None
        self.failed = self.moved = False
        self.answers = 0

    def ask(self):
        self.answer = b""
        self.deadline = time.monotonic() + PATIENCE
        self.is_asked = False

    def hear(self):
        """Whether there is nothing more to wait for."""
        try:
            if not self.is_asked:
                self.socket.send(REQUEST)
                self.is_asked = True
                return False
            piece = self.socket.recv(4096)
            self.answer += piece
            if piece and not self.is_whole():
                return False
            self.note(self.answer.rpartition(b"\r\n\r\n")[2] if piece else b"")
        except BlockingIOError:
            return False
        except OSError as error:
            self.fail(error)
        return True

    def is_whole(self):
        head, end, body = self.answer.partition(b"\r\n\r\n")
        return end and len(body) >= int(head.lower().partition(b"content-length:")[2].split()[0])

    def note(self, server):
        if not server:
            self.fail("closed")
        elif self.server not in (None, server):
            self.moved = True
        self.server = self.server or server
        self.answers += 1

    def fail(self, why):
        self.failed = True
        print(f"failed: {why}", flush=True)


def ask_all(connections):
    """Asks each of them, so many at a time, and waits for the answers."""
    left, asked, poll = iter(connections), {}, select.epoll()
    while True:
        while len(asked) < AT_A_TIME and (connection := next(left, None)):
            connection.ask()
            asked[connection.socket.fileno()] = connection
            poll.register(connection.socket, select.EPOLLOUT)
        if not asked:
            return
        for number, _ in poll.poll(1.0):
            connection = asked[number]
            if connection.hear():
                poll.unregister(number)
                del asked[number]
            elif connection.is_asked:
                poll.modify(number, select.EPOLLIN)
        now = time.monotonic()
        for number, connection in [it for it in asked.items() if it[1].deadline < now]:
            connection.fail("no answer")
            poll.unregister(number)
            del asked[number]


def hold(address, port, count, are_open, is_over, results):
    """Holds so many, in a process of their own."""
    connections = []

    def opened():
        for _ in range(count):
            connections.append(Connection(address, port))
            yield connections[-1]

    ask_all(opened())
    are_open.release()
    is_last = False
    while not is_last:
        is_last = is_over.is_set()
        ask_all([it for it in connections if not it.failed])
    failed, moved = sum(it.failed for it in connections), sum(it.moved for it in connections)
    results.put((failed, moved, sum(it.answers for it in connections), {it.server for it in connections if it.server}))


def main():
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    holders = -(-count // (limit - 1_000))
    are_open, is_over, results = multiprocessing.Semaphore(0), multiprocessing.Event(), multiprocessing.Queue()
    shares = [count * (place + 1) // holders - count * place // holders for place in range(holders)]
    processes = [
        multiprocessing.Process(target=hold, args=(address, port, share, are_open, is_over, results), daemon=True)
        for share in shares
    ]
    for process in processes:
        process.start()
    for _ in processes:
        are_open.acquire()
    print("open", flush=True)
    sys.stdin.read()
    is_over.set()
    failed, moved, answers, servers = zip(*(results.get() for _ in processes))
    names = ", ".join(sorted(name.decode() for name in set.union(*servers)))
    print(f"{count} connections to {names}: {sum(failed)} failed, {sum(moved)} moved; {sum(answers)} answers")


if __name__ == "__main__":
    main()
