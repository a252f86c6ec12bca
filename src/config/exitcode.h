/*
 * config/exitcode.h - what the program's exit status means. Every process of the server uses it.
 */
#ifndef CONFIG_EXITCODE_H
#define CONFIG_EXITCODE_H

enum exitcode {
    EXITCODE_OK = 0,      /* a clean end, drain included */
    EXITCODE_FAIL = 1,    /* anything else: an address in use, TLS files, the state file */
    EXITCODE_IMPORT = 3,  /* --check-region: not as it is, but a dump of it can be read */
    EXITCODE_CONFIG = 78, /* configuration or usage: starting again cannot help (EX_CONFIG) */
};

#endif
