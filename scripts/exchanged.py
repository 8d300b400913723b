"""Says so many octets on one connection and hears as many at once, and prints what was heard.

    exchanged.py listen ADDRESS PORT OCTETS
    exchanged.py connect ADDRESS PORT OCTETS

Either side says another sequence of octets that it draws from its role; a line at the end has the SHA-256 of what was said and of what was
heard, and the seconds that it took.
"""
import hashlib
import random
import socket
import sys
import threading
import time

PIECE = 1 << 20


def pieces(role, octets):
    """What is said: the same sequence each time, and another one for each role."""
    draw = random.Random(role)
    piece = draw.randbytes(PIECE + 251)
    for start in range(0, octets, PIECE):
        # No piece is like the next ones, so none can stand for another.
        begin = start // PIECE % 251
        yield piece[begin : begin + min(PIECE, octets - start)]


def say(connection, role, octets, digest):
    for piece in pieces(role, octets):
        digest.update(piece)
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)


def main():
    role, address, port, octets = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if role == "listen":
        with socket.create_server((address, port), family=family) as server:
            print("listens", flush=True)
            connection, _ = server.accept()
    else:
        connection = socket.create_connection((address, port), timeout=60)
    connection.settimeout(120)
    said, heard, length, begin = hashlib.sha256(), hashlib.sha256(), 0, time.monotonic()
    saying = threading.Thread(target=say, args=(connection, role, octets, said), daemon=True)
    saying.start()
    buffer = bytearray(PIECE)
    while count := connection.recv_into(buffer):
        heard.update(memoryview(buffer)[:count])
        length += count
    saying.join()
    print(f"said {said.hexdigest()} heard {heard.hexdigest()} octets {length} seconds {time.monotonic() - begin:.1f}")
    sys.exit(length != octets)


if __name__ == "__main__":
    main()
