"""slow_proxy PORT TEXT - a TCP proxy to 127.0.0.1:PORT on a port of its own, which it prints; replies to requests that begin with
TEXT are held back until its standard input ends. Each such request is a line "seen"."""
import socket
import sys
import threading

target, text = int(sys.argv[1]), sys.argv[2].encode()
released = threading.Event()


def pump(source, sink, hold):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            if source is hold["server"] and hold["asked"]:
                released.wait()
            if source is hold["client"] and data.startswith(text):
                hold["asked"] = True
                print("seen", flush=True)
            sink.sendall(data)
    except OSError:
        pass
    for s in (source, sink):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(listener):
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", target))
        hold = {"asked": False, "client": client, "server": server}
        for pair in ((client, server), (server, client)):
            threading.Thread(target=pump, args=(*pair, hold), daemon=True).start()


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    released.set()
    threading.Event().wait()


main()
