"""slow_proxy PORT SECONDS TEXT - a TCP proxy to 127.0.0.1:PORT on a port of its own, which it prints; the reply to a request that
begins with TEXT is held back for so long. Each such request is a line "seen"."""
import socket
import sys
import threading
import time

target, seconds, text = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].encode()


def pump(source, sink, hold):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            if hold["until"] and source is hold["server"]:
                time.sleep(max(0.0, hold["until"] - time.monotonic()))
                hold["until"] = 0.0
            if source is hold["client"] and data.startswith(text):
                hold["until"] = time.monotonic() + seconds
                print("seen", flush=True)
            sink.sendall(data)
    except OSError:
        pass
    for s in (source, sink):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", target))
        hold = {"until": 0.0, "client": client, "server": server}
        for pair in ((client, server), (server, client)):
            threading.Thread(target=pump, args=(*pair, hold), daemon=True).start()


main()
