"""Where functions can be run: worker processes.

``ProcessExecutor`` (``processes``) has some ``Worker`` objects (``worker``), each a plain ``Popen`` with a socket
for frames and pipes for its file descriptors 1 and 2. ``worker_main`` runs in the process. What crosses is made
by ``adapters/serialization``.

*Why not* ``anyio.to_process``: its workers answer over their standard output, so what a task prints is lost, and
whatever writes to file descriptor 1 past Python breaks the answer. *Why not* AnyIO's ``Process``: on asyncio a
thread or a watcher waits for each child; on Trio a thread starts it, and Linux kills a worker whose thread of
origin ends. So a ``Popen`` is started in the event loop's thread, and waited for by its file descriptor.

*Order of output.* ``sys.stdout``, ``sys.stderr`` and logging send frames, whose order is that of the socket. For
what goes past them, the worker writes a mark into both pipes before each frame. The parent passes a frame on when
both pipes have come to its mark, and passes text in the pipes on at once. Neither side needs a thread for that.

*One wait.* Socket and pipes are registered with an epoll or kqueue object, which is itself a file descriptor to
wait for: a task for each would cost more than the call.
"""
