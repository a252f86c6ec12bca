# src/ctl - dflockctl: looks at a server, and takes locks away.
