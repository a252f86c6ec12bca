# src/cli - dflock: runs a command while it holds a lock.
