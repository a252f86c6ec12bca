# src/bench - dflock-bench: loads a server, measures it and checks what it saw.
