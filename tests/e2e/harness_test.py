#!/usr/bin/env python3
"""harness_test.py - what other tests rest on."""

from harness import Server, check_eq, main, test


@test("who cleans up after its server ends no other's process, though the numbers of processes come again")
def numbers_come_again():
    with Server() as other:
        client, server = other.client(), Server().start()
        pids = server.members()
        check_eq(len(pids), 3, "a master and two workers")
        server.sessions.append(other.pid)  # as if the number had been free, and was given again
        check_eq(server.members(), pids, "its processes")
        server.destroy()
        check_eq(client.req("ping"), "ok", "the other server")
        check_eq(server.members(), [], "of its own")


if __name__ == "__main__":
    main()
